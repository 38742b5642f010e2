-- no task is completed twice, nor a completion accepted twice
SELECT format('run %s task %s[%s] has %s completed attempts', run_id, step_slug, task_index, count(*))
FROM pgflow.step_tasks WHERE status = 'completed' GROUP BY run_id, step_slug, task_index HAVING count(*) > 1
UNION ALL
SELECT format('run %s task %s[%s]: %s completions were accepted', run_id, step_slug, task_index, count(*))
FROM crash_test.receipts WHERE accepted AND call = 'complete'
GROUP BY run_id, step_slug, task_index HAVING count(*) > 1
UNION ALL
SELECT format('run %s task %s[%s] attempt %s: %s failures were accepted', run_id, step_slug, task_index, attempt, count(*))
FROM crash_test.receipts WHERE accepted AND call = 'fail'
GROUP BY run_id, step_slug, task_index, attempt HAVING count(*) > 1;

-- Must notice:
INSERT INTO crash_test.receipts SELECT * FROM (
  SELECT * FROM crash_test.receipts WHERE accepted AND call = 'complete' LIMIT 1) twice;
