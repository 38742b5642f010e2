-- Takes tasks out of the live ones.
-- Deletes the live rows; the caller holds them.
delete from pgflow.live_tasks t
using unnest($1::uuid[], $2::text[], $3::int[]) u(run_id, step_slug, task_index)
where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
