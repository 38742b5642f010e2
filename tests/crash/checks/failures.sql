-- no acknowledged failure is lost
SELECT format('run %s task %s[%s] attempt %s: acknowledged as failed, is %s', run_id, step_slug, task_index, attempt,
  coalesce(t.status || ' ' || coalesce(t.error_message, ''), 'not there'))
FROM crash_test.receipts a LEFT JOIN pgflow.step_tasks t USING (run_id, step_slug, task_index, attempt)
WHERE a.accepted AND (a.call = 'fail' OR a.call = 'complete' AND a.task_status = 'failed')
  AND (t.status IS DISTINCT FROM 'failed' OR a.call = 'fail' AND t.error_message IS DISTINCT FROM a.message);

-- Must notice:
DELETE FROM pgflow.step_tasks WHERE (run_id, step_slug, task_index) =
  (SELECT run_id, step_slug, task_index FROM crash_test.receipts WHERE accepted AND call = 'fail' LIMIT 1);
