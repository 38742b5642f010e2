-- Claims and completes until it is told that it is enough.
DO $$
DECLARE
  task record;
BEGIN
  LOOP
    FOR task IN SELECT * FROM pgflow.claim_step_tasks('busy', 5, worker_id => pg_backend_pid()::text) LOOP
      PERFORM pgflow.complete_step_task(task.run_id, task.step_slug, '1', task.task_index, task.lease);
    END LOOP;
    COMMIT;
    EXIT WHEN EXISTS (SELECT FROM enough);
  END LOOP;
END $$;
