-- How far each step of a run is, one a line; the run's own status comes first.
SELECT 'run', '', r.status, 0, 0, 0, coalesce(r.error_message, '')
FROM pgflow.runs r
WHERE r.run_id = :'run_id';

SELECT step_slug, executor || CASE step_type WHEN 'map' THEN ' map' ELSE '' END, status,
       completed_tasks, coalesce(initial_tasks, 0), failed_attempts, ''
FROM jsonb_to_recordset(pgflow.get_run(:'run_id') -> 'steps')
  AS (step_slug text, executor text, step_type text, status text, completed_tasks integer, initial_tasks integer,
      failed_attempts integer);
