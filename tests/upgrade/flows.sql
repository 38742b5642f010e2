-- One flow of each kind from its definition to the end of its runs, by the functions that every version has. Prints how
-- they ended; nothing printed depends on ids or times.
CREATE TEMP TABLE run (name text PRIMARY KEY, run_id uuid NOT NULL);

-- Works what is ready in a queue: fails what is told to fail, else completes it with what it got.
CREATE FUNCTION pg_temp.work(queue text, failing text DEFAULT NULL, retryable boolean DEFAULT true) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  task record;
  receipt record;
BEGIN
  LOOP
    SELECT * INTO task FROM pgflow.claim_step_tasks(queue, 1, worker_id => 'upgrade');
    EXIT WHEN NOT FOUND;
    IF task.step_slug = failing AND task.attempt = 1 THEN
      SELECT * INTO receipt FROM pgflow.fail_step_task(task.run_id, task.step_slug, 'no', task.task_index, task.lease, retryable, 0);
    ELSE
      SELECT * INTO receipt FROM pgflow.complete_step_task(task.run_id, task.step_slug,
        CASE task.step_slug WHEN 'list' THEN '[1, 2, 3]' ELSE task.input END, task.task_index, task.lease);
    END IF;
    IF NOT receipt.accepted THEN
      RAISE EXCEPTION 'refused: %', receipt;
    END IF;
  END LOOP;
END $$;

SELECT count(pgflow.create_flow('chain'));
SELECT count(pgflow.add_step('chain', 'one'));
SELECT count(pgflow.add_step('chain', 'two', ARRAY['one']));
SELECT count(pgflow.add_step('chain', 'three', ARRAY['two']));
SELECT flow_slug, version, changed FROM pgflow.define_flow('{"flow_slug": "fan", "base_delay": 0, "steps": [
  {"step_slug": "list"},
  {"step_slug": "each", "step_type": "map", "deps_slugs": ["list"]},
  {"step_slug": "aside", "deps_slugs": ["list"]},
  {"step_slug": "join", "deps_slugs": ["each", "aside"]}]}');
SELECT flow_slug, version, changed FROM pgflow.define_flow('{"flow_slug": "by_hand", "steps": [
  {"step_slug": "go", "start_mode": "manual"}, {"step_slug": "approve", "executor": "external", "deps_slugs": ["go"]}]}');

INSERT INTO run SELECT 'chain', pgflow.run_flow('chain', '{"n": 1}');
SELECT pg_temp.work('chain');
INSERT INTO run SELECT 'map and join', pgflow.run_flow('fan');
SELECT pg_temp.work('fan');
INSERT INTO run SELECT 'attempt again', pgflow.run_flow('fan');
SELECT pg_temp.work('fan', 'each');
INSERT INTO run SELECT 'failed, then retried', pgflow.run_flow('chain');
SELECT pg_temp.work('chain', 'two', false);
SELECT (pgflow.retry_run(run_id)).status FROM run WHERE name = 'failed, then retried';
SELECT pg_temp.work('chain');
INSERT INTO run SELECT 'cancelled', pgflow.run_flow('chain');
SELECT (pgflow.cancel_run(run_id, 'enough')).status FROM run WHERE name = 'cancelled';
INSERT INTO run SELECT 'forked', pgflow.fork_run(run_id, ARRAY['three']) FROM run WHERE name = 'chain';
SELECT pg_temp.work('chain');
INSERT INTO run SELECT 'by hand', pgflow.run_flow('by_hand');
SELECT (pgflow.start_step(run_id, 'go')).status FROM run WHERE name = 'by hand';
SELECT pg_temp.work('by_hand');
SELECT (pgflow.complete_step(run_id, 'approve', '{"ok": true}')).run_status FROM run WHERE name = 'by hand';
INSERT INTO run SELECT 'batch ' || n, run_id
FROM pgflow.run_flows('chain', ARRAY['1', '2']::jsonb[]) WITH ORDINALITY AS started (run_id, n);
SELECT step_slug FROM pgflow.settle_and_claim(
  (SELECT jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'lease', lease, 'output', 0))
   FROM pgflow.claim_step_tasks('chain', 2)), 'chain', 0);
SELECT pg_temp.work('chain');
SELECT pgflow.prune_runs('1 day');

SELECT name, r.status, r.output, r.error_message,
       (SELECT string_agg(format('%s[%s] %s %s', step_slug, task_index, attempt, t.status), ', ' ORDER BY step_slug COLLATE "C", task_index, attempt)
        FROM pgflow.step_tasks t WHERE t.run_id = run.run_id) AS attempts
FROM run JOIN pgflow.runs r USING (run_id)
ORDER BY run_id;
SELECT count(*), bool_and(pgflow.get_run(run_id) -> 'run' ->> 'run_id' = run_id::text) FROM run;
SELECT jsonb_array_length(pgflow.flow_graph('fan') -> 'steps');
SELECT * FROM pgflow.check_integrity();
