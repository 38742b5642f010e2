-- Turns pending runs to started, and returns those that were.
-- Updates the runs.
update pgflow.runs r set status = 'started', started_at = $2
where r.run_id = any ($1::uuid[]) and r.status = 'pending'
returning r.run_id
