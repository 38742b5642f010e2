-- an effect in the transaction of the completion is there exactly once
WITH transactional AS (SELECT DISTINCT run_id, step_slug FROM crash_test.deeds WHERE transactional),
-- A result that the engine cannot use is accepted, and fails its task with a message of the engine's own: its effect
-- stays too.
settled AS (
  SELECT t.run_id, t.step_slug, t.task_index, t.attempt, t.status
  FROM pgflow.step_tasks t JOIN transactional USING (run_id, step_slug)
  WHERE t.status = 'completed' OR t.status = 'failed' AND coalesce(t.error_message, '') NOT LIKE '%will not'),
effects AS (
  SELECT run_id, step_slug, task_index, attempt, count(*) AS times FROM crash_test.ledger
  GROUP BY run_id, step_slug, task_index, attempt)
SELECT format('run %s task %s[%s] attempt %s: %s effects, the attempt is %s', run_id, step_slug, task_index, attempt,
  coalesce(times, 0), coalesce((SELECT status FROM pgflow.step_tasks t WHERE t.run_id = e.run_id
    AND t.step_slug = e.step_slug AND t.task_index = e.task_index AND t.attempt = e.attempt), s.status))
FROM settled s FULL JOIN effects e USING (run_id, step_slug, task_index, attempt)
WHERE s.status IS NULL OR times IS DISTINCT FROM 1;

-- Must notice:
INSERT INTO crash_test.ledger SELECT * FROM (SELECT * FROM crash_test.ledger LIMIT 1) twice;
