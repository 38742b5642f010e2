-- A million finished tasks: runs of the chain as the engine leaves them, written in bulk. Variable: runs.

CREATE TEMP TABLE finished AS
SELECT overlay(gen_random_uuid()::text
               PLACING substr(to_hex_ms, 1, 8) || '-' || substr(to_hex_ms, 9, 4) || '-7' FROM 1 FOR 15)::uuid AS run_id,
       ended
FROM generate_series(1, :runs) n,
     LATERAL (SELECT now() - interval '30 days' + n * interval '5 seconds' AS ended) e,
     LATERAL (SELECT lpad(to_hex((extract(epoch FROM ended) * 1000)::bigint), 12, '0') AS to_hex_ms) h;

INSERT INTO pgflow.runs (run_id, flow_slug, flow_version, status, payload, output, priority, created_by, created_at,
                         started_at, finished_at, definition_id, remaining_leaves, large)
SELECT f.run_id, 'chain', v.version, 'completed', '{"n": 1}', '{"three": 0}', 0, current_user, f.ended,
       f.ended, f.ended, v.definition_id, 0, false
FROM finished f, pgflow.flow_versions v
WHERE v.flow_slug = 'chain';

INSERT INTO pgflow.step_states (run_id, step_slug, flow_slug, status, remaining_deps, remaining_tasks, initial_tasks,
                                output, created_at, started_at, finished_at)
SELECT f.run_id, s.slug, 'chain', 'completed', 0, 0, 1, '0', f.ended, f.ended, f.ended
FROM finished f, unnest(ARRAY['one', 'two', 'three']) s(slug);

INSERT INTO pgflow.step_tasks (run_id, step_slug, task_index, attempt, flow_slug, status, output, queued_at,
                               started_at, finished_at)
SELECT f.run_id, s.slug, 0, 1, 'chain', 'completed', '0', f.ended, f.ended, f.ended
FROM finished f, unnest(ARRAY['one', 'two', 'three']) s(slug);

UPDATE pgflow.flow_versions SET frozen_at = now() WHERE flow_slug = 'chain';
VACUUM (ANALYZE) pgflow.runs, pgflow.step_states, pgflow.step_tasks;

SELECT count(*) AS "finished tasks in the history" FROM pgflow.step_tasks;
