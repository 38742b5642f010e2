-- Starts the states of single steps that are still pending.
-- Updates the rows; the caller holds the locks of the runs.
update pgflow.step_states s
set status = 'started', initial_tasks = 1, remaining_tasks = 1, started_at = $3
from unnest($1::uuid[], $2::text[]) u(run_id, step_slug)
where s.run_id = u.run_id and s.step_slug = u.step_slug and s.status = 'pending'
