-- Runs stopped at every point where something is under way: what a dump, an upgrade and a promotion have to keep. The
-- extension is there already. Table held says which leases workers hold that are still at it.
SELECT pgflow.define_flow('{
  "flow_slug": "report", "max_attempts": 3, "base_delay": 1, "timeout": 1,
  "steps": [
    {"step_slug": "list"},
    {"step_slug": "read", "step_type": "map", "deps_slugs": ["list"]},
    {"step_slug": "count", "deps_slugs": ["read"]},
    {"step_slug": "title", "deps_slugs": ["list"], "queue": "titles"},
    {"step_slug": "publish", "deps_slugs": ["count", "title"]}
  ]}');
SELECT pgflow.define_flow('{
  "flow_slug": "approval",
  "steps": [
    {"step_slug": "draft"},
    {"step_slug": "approve", "deps_slugs": ["draft"], "executor": "external"},
    {"step_slug": "never", "deps_slugs": ["draft"], "required_input_pattern": {"draft": {"never": true}}},
    {"step_slug": "send", "deps_slugs": ["approve"], "start_mode": "manual"}
  ]}');

SELECT pgflow.define_flow('{
  "flow_slug": "slow", "timeout": 600,
  "steps": [
    {"step_slug": "render", "step_type": "map"},
    {"step_slug": "bind", "deps_slugs": ["render"]}
  ]}');

-- Claims the one task that is ready, and settles it as told: done with an output, failed for now, or left leased.
CREATE FUNCTION pg_temp.one(queue text, step text, output jsonb, message text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  task record;
BEGIN
  SELECT * INTO STRICT task FROM pgflow.claim_step_tasks(queue, 1);
  IF task.step_slug <> step THEN
    RAISE EXCEPTION 'claimed % instead of %', task.step_slug, step;
  ELSIF message IS NOT NULL THEN
    PERFORM pgflow.fail_step_task(task.run_id, task.step_slug, message, task.task_index, task.lease);
  ELSIF output IS NOT NULL THEN
    PERFORM pgflow.complete_step_task(task.run_id, task.step_slug, output, task.task_index, task.lease);
  END IF;
END $$;

-- A map of three: one done, one waiting for its second attempt, one leased to a worker that is gone by then.
SELECT pgflow.run_flow('report', '{"n": 1}', idempotency_key => 'first');
SELECT pg_temp.one('report', 'list', '["a", "b", "c"]');
SELECT pg_temp.one('report', 'read', '{"length": 1}');
SELECT pg_temp.one('report', 'read', NULL, 'the disk is full');
SELECT pg_temp.one('report', 'read', NULL);
-- The title is ready and nobody has it.

-- One that has not begun, one that ran to its end, one that failed, one that was cancelled, one that starts later.
DO $$
DECLARE
  run uuid;
  task record;
  step text;
BEGIN
  PERFORM pgflow.create_flow('chain');
  PERFORM pgflow.add_step('chain', 'one');
  PERFORM pgflow.add_step('chain', 'two', ARRAY['one']);
  run := pgflow.run_flow('chain', '{"which": "completed"}');
  FOREACH step IN ARRAY ARRAY['one', 'two'] LOOP
    PERFORM pg_temp.one('chain', step, to_jsonb(step));
  END LOOP;
  run := pgflow.run_flow('chain', '{"which": "failed"}');
  SELECT * INTO STRICT task FROM pgflow.claim_step_tasks('chain', 1);
  PERFORM pgflow.fail_step_task(run, 'one', 'bad input', lease => task.lease, retryable => false);
  run := pgflow.run_flow('chain', '{"which": "cancelled"}');
  PERFORM pgflow.cancel_run(run, 'no longer wanted');
  PERFORM pgflow.run_flow('chain', '{"which": "not begun"}', priority => 7, key => 'tenant 1');
  PERFORM pgflow.run_flow('chain', '{"which": "later"}', start_at => clock_timestamp() + interval '3 seconds');
  -- A definition that changed under a run: two versions.
  PERFORM pgflow.add_step('chain', 'three', ARRAY['two']);
  PERFORM pgflow.run_flow('chain', '{"which": "second version"}');

  run := pgflow.run_flow('approval', '{"by": "Ada"}');
  PERFORM pg_temp.one('approval', 'draft', '{"text": "Dear all"}');
END $$;

-- Claimed by workers that are still at it: two tasks of a map, the third of which is ready, and a single one.
SELECT pgflow.run_flow('slow', '["p", "q", "r"]');
CREATE TABLE held AS SELECT * FROM pgflow.claim_step_tasks('slow', 2, worker_id => 'steady');
SELECT pgflow.run_flow('slow', '["s"]', priority => 1);
INSERT INTO held SELECT * FROM pgflow.claim_step_tasks('slow', 1, worker_id => 'steady');
