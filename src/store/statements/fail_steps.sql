-- Fails steps that have not ended.
-- Updates the rows; the caller holds the locks of the runs.
update pgflow.step_states s
set status = 'failed', error_message = u.error_message, output = null, remaining_tasks = 0, finished_at = $4
from unnest($1::uuid[], $2::text[], $3::text[]) u(run_id, step_slug, error_message)
where s.run_id = u.run_id and s.step_slug = u.step_slug and s.status in ('pending', 'started')
