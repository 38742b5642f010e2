-- no acknowledged completion is lost or changed
SELECT format('run %s task %s[%s] attempt %s: acknowledged %s, is %s', run_id, step_slug, task_index, attempt,
  a.output, coalesce(t.status || ' ' || coalesce(t.output::text, ''), 'not there'))
FROM crash_test.receipts a LEFT JOIN pgflow.step_tasks t USING (run_id, step_slug, task_index, attempt)
WHERE a.call = 'complete' AND a.accepted AND a.task_status = 'completed'
  AND (t.status IS DISTINCT FROM 'completed' OR t.output IS DISTINCT FROM a.output);

-- Must notice:
UPDATE pgflow.step_tasks SET output = '"changed"' WHERE (run_id, step_slug, task_index) =
  (SELECT run_id, step_slug, task_index FROM crash_test.receipts WHERE accepted AND task_status = 'completed' LIMIT 1);
