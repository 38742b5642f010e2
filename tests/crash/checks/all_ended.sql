-- every run, step and attempt has ended
SELECT format('run %s is %s', run_id, status) FROM pgflow.runs WHERE status NOT IN ('completed', 'failed')
UNION ALL
SELECT format('run %s step %s is %s', run_id, step_slug, status) FROM pgflow.step_states
WHERE status IN ('pending', 'started')
UNION ALL
SELECT format('run %s task %s[%s] attempt %s is %s', run_id, step_slug, task_index, attempt, status)
FROM pgflow.step_tasks WHERE status IN ('queued', 'started');

-- Must notice:
UPDATE pgflow.runs SET status = 'started', finished_at = NULL WHERE run_id = (SELECT run_id FROM pgflow.runs LIMIT 1);
