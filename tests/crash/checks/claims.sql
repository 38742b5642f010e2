-- an attempt is handed out once, and no acknowledged claim is lost
WITH releases AS (
  SELECT run_id, step_slug, task_index, attempt, count(*) AS times FROM crash_test.deeds
  WHERE kind = 'release' GROUP BY run_id, step_slug, task_index, attempt),
claims AS (
  SELECT run_id, step_slug, task_index, attempt, count(*) AS times FROM crash_test.claims
  WHERE durable GROUP BY run_id, step_slug, task_index, attempt)
SELECT format('run %s task %s[%s] attempt %s was handed out %s times and released %s times', run_id, step_slug,
  task_index, attempt, c.times, coalesce(r.times, 0))
FROM claims c LEFT JOIN releases r USING (run_id, step_slug, task_index, attempt)
WHERE c.times > 1 + coalesce(r.times, 0)
UNION ALL
SELECT format('run %s task %s[%s] attempt %s was handed out and is %s', run_id, step_slug, task_index, attempt,
  coalesce(t.status, 'not there'))
FROM claims c LEFT JOIN pgflow.step_tasks t USING (run_id, step_slug, task_index, attempt)
WHERE t.status IS NULL OR t.started_at IS NULL AND t.status <> 'cancelled'
UNION ALL
SELECT format('lease %s was given to %s attempts', lease, count(*)) FROM crash_test.claims
GROUP BY lease HAVING count(*) > 1;

-- Must notice:
INSERT INTO crash_test.claims SELECT run_id, step_slug, task_index, attempt, -1, true FROM (
  SELECT * FROM crash_test.claims c WHERE durable AND NOT EXISTS (
    SELECT FROM crash_test.deeds d WHERE d.kind = 'release' AND d.run_id = c.run_id) LIMIT 1) twice;
