-- Lets a task that waits for an event wait until $4.
-- Updates the live row, which the caller holds.
update pgflow.live_tasks t set lease_expires_at = $4
where t.run_id = $1 and t.step_slug = $2 and t.task_index = $3
