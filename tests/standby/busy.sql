-- A flow of maps and joins, and a worker that starts and works its runs, with a commit after each call.
SELECT pgflow.define_flow('{"flow_slug": "busy", "timeout": 1, "max_attempts": 10, "base_delay": 0, "steps": [
  {"step_slug": "split"},
  {"step_slug": "each", "step_type": "map", "deps_slugs": ["split"]},
  {"step_slug": "aside", "deps_slugs": ["split"]},
  {"step_slug": "join", "deps_slugs": ["each", "aside"]}]}');

CREATE PROCEDURE work(lasting interval, worker text, starting boolean DEFAULT true) LANGUAGE plpgsql AS $$
DECLARE
  until timestamptz := clock_timestamp() + lasting;
  results jsonb;
BEGIN
  WHILE clock_timestamp() < until LOOP
    IF starting THEN
      PERFORM pgflow.run_flows('busy', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[]);
      COMMIT;
    END IF;
    SELECT jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index, 'lease', lease) ||
                     CASE WHEN step_slug = 'each' AND attempt = 1 AND random() < 0.2 THEN '{"error_message": "again"}'
                          WHEN step_slug = 'split' THEN '{"output": [1, 2, 3]}'
                          ELSE jsonb_build_object('output', input -> 'run') END)
    INTO results
    FROM pgflow.claim_step_tasks('busy', 20, worker_id => worker);
    COMMIT;
    IF results IS NOT NULL THEN
      PERFORM pgflow.settle_step_tasks(results);
      COMMIT;
    ELSIF NOT starting THEN
      PERFORM pg_sleep(0.02);
    END IF;
  END LOOP;
END $$;
