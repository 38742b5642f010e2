-- Adds ready tasks that are made up, each of a run and turn of its own, up to a number of them.
CREATE FUNCTION pg_temp.fill(tasks int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO pgflow.live_tasks (run_id, definition_id, task_index, first_attempt, step_index, flow_version, rank, timeout,
                                 opens_run, step_slug, flow_slug, queue, executor, attempt, turn, ready_at, status)
  SELECT gen_random_uuid(), v.definition_id, 0, 1, 0, 1, ~0, 60, false, 'one', 'chain', 'chain', 'worker', 1, n, now(), 'ready'
  FROM pgflow.flow_versions v, generate_series((SELECT count(*) FROM pgflow.live_tasks) + 1, tasks) n
  WHERE v.flow_slug = 'chain'
$$;
