-- Tasks that have ended wait for no event.
-- Deletes the rows, which only holders of the locks of their runs touch.
delete from pgflow.event_waiters w
using unnest($1::uuid[], $2::text[], $3::int[]) u(run_id, step_slug, task_index)
where w.run_id = u.run_id and w.step_slug = u.step_slug and w.task_index = u.task_index
