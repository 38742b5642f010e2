-- the handler of every attempt that completed or failed had its effect at least once
SELECT format('run %s task %s[%s] attempt %s is %s', run_id, step_slug, task_index, attempt, status)
FROM pgflow.step_tasks t WHERE status IN ('completed', 'failed') AND NOT EXISTS (
  SELECT FROM crash_test.deeds d WHERE d.kind = 'effect' AND d.run_id = t.run_id AND d.step_slug = t.step_slug
    AND d.task_index = t.task_index AND d.attempt = t.attempt);

-- Must notice:
DELETE FROM crash_test.deeds WHERE (run_id, step_slug, task_index) =
  (SELECT run_id, step_slug, task_index FROM pgflow.step_tasks WHERE status = 'completed' LIMIT 1);
