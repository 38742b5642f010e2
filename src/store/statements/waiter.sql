-- What a task waits for, when it times out, and when, by and for whom its run was created.
-- Locks nothing: the caller holds the lock of the run.
select w.event_key, w.name::text, w.key::text, w.times_out_at, r.created_at, r.created_by::text, r.created_for
from pgflow.event_waiters w
join pgflow.runs r on r.run_id = w.run_id
where w.run_id = $1 and w.step_slug = $2 and w.task_index = $3
