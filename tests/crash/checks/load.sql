-- After the work: what the processes wrote down, as tables.
CREATE UNLOGGED TABLE crash_test.definitions AS
SELECT entry ->> 'flow' AS flow_slug, (entry ->> 'version')::int AS version
FROM crash_test.journal WHERE entry ->> 'kind' = 'definition';

CREATE UNLOGGED TABLE crash_test.runs AS
SELECT entry ->> 'flow' AS flow_slug, entry ->> 'key' AS key, (entry ->> 'run')::uuid AS run_id
FROM crash_test.journal WHERE entry ->> 'kind' = 'run';

-- Releases are written down before the call, like effects.
CREATE UNLOGGED TABLE crash_test.deeds AS
SELECT entry ->> 'kind' AS kind, (entry ->> 'run')::uuid AS run_id, entry ->> 'step' AS step_slug,
  (entry ->> 'task')::int AS task_index, (entry ->> 'attempt')::int AS attempt, (entry ->> 'lease')::bigint AS lease,
  (entry ->> 'transactional')::boolean AS transactional
FROM crash_test.journal WHERE entry ->> 'kind' IN ('effect', 'release');

CREATE UNLOGGED TABLE crash_test.claims AS
SELECT (entry ->> 'run')::uuid AS run_id, entry ->> 'step' AS step_slug, (entry ->> 'task')::int AS task_index,
  (entry ->> 'attempt')::int AS attempt, (entry ->> 'lease')::bigint AS lease, (entry ->> 'durable')::boolean AS durable
FROM crash_test.journal WHERE entry ->> 'kind' = 'claim';

CREATE UNLOGGED TABLE crash_test.receipts AS
SELECT entry ->> 'call' AS call, (entry ->> 'run')::uuid AS run_id, entry ->> 'step' AS step_slug,
  (entry ->> 'task')::int AS task_index, (entry ->> 'attempt')::int AS attempt,
  (entry ->> 'accepted')::boolean AS accepted, entry ->> 'task_status' AS task_status, entry -> 'output' AS output,
  entry ->> 'message' AS message
FROM crash_test.journal WHERE entry ->> 'kind' = 'receipt';

ANALYZE;
