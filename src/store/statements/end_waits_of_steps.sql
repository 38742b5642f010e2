-- Steps, or whole runs (step_slug null), that have ended wait for no event.
-- Deletes the rows, which only holders of the locks of their runs touch.
delete from pgflow.event_waiters w
using unnest($1::uuid[], $2::text[]) u(run_id, step_slug)
where w.run_id = u.run_id and (u.step_slug is null or w.step_slug = u.step_slug)
