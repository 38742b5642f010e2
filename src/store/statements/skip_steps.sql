-- Skips steps that have not ended; returns the ordinals of those it skipped.
-- Updates the rows; the caller holds the locks of the runs.
update pgflow.step_states s
set status = 'skipped', skip_reason = u.reason, error_message = u.error_message, output = null,
    remaining_tasks = 0, finished_at = $5
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) with ordinality
       u(run_id, step_slug, reason, error_message, ordinal)
where s.run_id = u.run_id and s.step_slug = u.step_slug and s.status in ('pending', 'started')
returning u.ordinal
