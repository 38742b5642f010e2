-- Completes map steps that have no tasks.
-- Updates the rows; the caller holds the locks of the runs or has just made them.
update pgflow.step_states s
set status = 'completed', output = '[]', initial_tasks = 0, remaining_tasks = 0,
    started_at = $3, finished_at = $3
from unnest($1::uuid[], $2::text[]) u(run_id, step_slug)
where s.run_id = u.run_id and s.step_slug = u.step_slug and s.status = 'pending'
