-- Cancels what is left of the tasks of steps.
-- Deletes live rows, updates attempts; the caller holds the locks of the runs.
with gone as (
  delete from pgflow.live_tasks t
  using unnest($1::uuid[], $2::text[]) u(run_id, step_slug)
  where t.run_id = u.run_id and t.step_slug = u.step_slug
  returning t.run_id, t.step_slug, t.task_index, t.attempt
)
update pgflow.step_tasks h set status = 'cancelled', finished_at = $3
from gone g
where h.run_id = g.run_id and h.step_slug = g.step_slug and h.task_index = g.task_index and h.attempt = g.attempt
