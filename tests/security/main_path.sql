-- Every function of the engine on its way through the life of some runs. Calls only, with plain constants: an operator or
-- a function of the caller's own that is met here was called by the engine. Ids, leases and times are masked by the runner.
\set ON_ERROR_STOP on
\pset null <null>
\pset tuples_only on
\pset format unaligned

-- Definitions.
SELECT flow_slug, version, owner FROM pgflow.create_flow('chain', base_delay => 0, description => 'a chain');
SELECT step_slug, step_index FROM pgflow.add_step('chain', 'one');
SELECT step_slug, step_index FROM pgflow.add_step('chain', 'two', ARRAY['one'], required_input_pattern => '{"one": {"a": 1}}');
SELECT step_slug, step_index FROM pgflow.add_step('chain', 'two', ARRAY['one'], required_input_pattern => '{"one": {"a": 2}}');
SELECT * FROM pgflow.define_flow('{"flow_slug": "fan", "base_delay": 0, "max_attempts": 2, "steps": [
  {"step_slug": "list"},
  {"step_slug": "each", "step_type": "map", "deps_slugs": ["list"]},
  {"step_slug": "aside", "deps_slugs": ["list"], "when_exhausted": "skip"},
  {"step_slug": "join", "deps_slugs": ["each", "aside"]},
  {"step_slug": "go", "start_mode": "manual", "deps_slugs": ["join"]},
  {"step_slug": "never", "deps_slugs": ["join"], "forbidden_input_pattern": {"join": {"n": 0.5}}, "when_unmet": "skip-cascade"},
  {"step_slug": "approve", "executor": "external", "deps_slugs": ["go"]}]}');
SELECT pgflow.flow_graph('fan');
SELECT pgflow.flow_mermaid('fan');
SELECT pgflow.flow_svg('fan') \g /dev/null

-- A map, a join, a retry, a skip, a manual and an external step.
SELECT pgflow.run_flow('fan', '{"n": 1, "text": "it''s"}', 'once', 3, '-infinity', 'tenant') AS run \gset
SELECT pgflow.run_flow('fan', '{"n": 2}', 'once') AS again \gset
\echo :run :again
SELECT lease, step_slug, task_index, attempt, input FROM pgflow.claim_step_tasks('fan', 1, worker_id => 'w') \gset
\echo :step_slug :task_index :attempt :input
SELECT * FROM pgflow.extend_step_task(:'run', 'list', 0, :lease, 100);
SELECT * FROM pgflow.release_step_task(:'run', 'list', 0, :lease);
SELECT lease, step_slug, attempt FROM pgflow.claim_step_tasks('fan', 1) \gset
SELECT * FROM pgflow.complete_step_task(:'run', 'list', '[{"x": 1.50}, "é", null]', 0, :lease);
SELECT step_slug, task_index, attempt, input FROM pgflow.claim_step_tasks('fan', 10);
SELECT * FROM pgflow.fail_step_task(:'run', 'each', 'no', 1, retry_after => 0);
SELECT * FROM pgflow.fail_step_task(:'run', 'aside', 'never', retryable => false);
SELECT step_slug, task_index, attempt, input FROM pgflow.claim_step_tasks('fan', 10);
\set results '[{"run_id": "' :run '", "step_slug": "each", "output": 0}, {"run_id": "' :run '", "step_slug": "each", "task_index": 1, "output": "x"},'
\set results :results '{"run_id": "' :run '", "step_slug": "each", "task_index": 1, "output": "y"}, {"run_id": "00000000-0000-7000-8000-000000000000", "step_slug": "each"}]'
SELECT * FROM pgflow.settle_step_tasks(:'results');
\set results '[{"run_id": "' :run '", "step_slug": "each", "task_index": 2}]'
SELECT step_slug, task_index, attempt, input FROM pgflow.settle_and_claim(:'results', 'fan', 5);
SELECT * FROM pgflow.complete_step_task(:'run', 'join', '{"n": 0.5}');
SELECT status, remaining_tasks FROM pgflow.start_step(:'run', 'go');
SELECT step_slug, input FROM pgflow.claim_step_tasks('fan', 10);
SELECT * FROM pgflow.complete_step_task(:'run', 'go', '"gone"');
SELECT * FROM pgflow.complete_step(:'run', 'approve', 'true');
SELECT pgflow.get_run(:'run');
SELECT pgflow.run_mermaid(:'run'), pgflow.run_svg(:'run') \g /dev/null

-- Failure, retry, fork, cancel, batches, versions, deletion.
SELECT pgflow.run_flow('chain') AS run \gset
SELECT step_slug FROM pgflow.claim_step_tasks('chain');
SELECT * FROM pgflow.fail_step_task(:'run', 'one', 'bad', retryable => false);
SELECT status, error_message FROM pgflow.retry_run(:'run');
SELECT step_slug, attempt FROM pgflow.claim_step_tasks('chain');
SELECT * FROM pgflow.complete_step_task(:'run', 'one', '{"a": 2}');
SELECT step_slug, attempt, input FROM pgflow.claim_step_tasks('chain');
SELECT * FROM pgflow.complete_step_task(:'run', 'two', '2');
SELECT pgflow.fork_run(:'run', ARRAY['two']) AS fork \gset
SELECT step_slug, attempt, input FROM pgflow.claim_step_tasks('chain');
SELECT status, error_message FROM pgflow.cancel_run(:'fork', 'enough');
SELECT pgflow.get_run(:'fork');
SELECT pgflow.run_flows('chain', '{1,2}', ARRAY['k1', NULL], 5);
SELECT step_slug, input FROM pgflow.claim_step_tasks('chain', 1, 1);
SELECT pg_catalog.pg_sleep(1.1);
SELECT step_slug, attempt, input FROM pgflow.claim_step_tasks('chain', 1);
SELECT * FROM pgflow.add_step('chain', 'three', ARRAY['two']) \gset step_
\echo version :step_flow_version
SELECT pgflow.run_flow('chain', start_at => 'infinity') AS later \gset
SELECT pgflow_locks.run_key(:'run') AS key, pgflow_locks.queue_key('chain') AS queue_key \gset
BEGIN;
SELECT pgflow_locks.lock_run(:'run');
COMMIT;
SELECT pgflow.prune_runs('0 seconds');
SELECT pgflow.delete_flow('chain', true);
SELECT * FROM pgflow.check_integrity();

-- Refusals.
\set ON_ERROR_STOP off
\set VERBOSITY verbose
\set SHOW_CONTEXT never
SELECT pgflow.run_flow('chain');
SELECT pgflow.run_flow(NULL);
SELECT pgflow.create_flow('1');
SELECT pgflow.define_flow('{"flow_slug": "x", "steps": [{"step_slug": "a", "deps_slugs": ["b"]}, {"step_slug": "b", "deps_slugs": ["a"]}]}');
SELECT pgflow.settle_step_tasks('[1]');
SELECT pgflow.retry_run('00000000-0000-7000-8000-000000000000');
SELECT pgflow.delete_flow('fan', true);
