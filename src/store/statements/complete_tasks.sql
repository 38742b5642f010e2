-- Completes tasks, and the steps of those that are the only one of their step ($6).
-- Updates attempts and states; the caller holds the locks of the runs and has taken the live rows.
with u as materialized (
  select u.run_id, u.step_slug, u.task_index, u.attempt, coalesce(u.output, 'null') as output, u.is_single
  from unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::jsonb[], $6::boolean[])
    u(run_id, step_slug, task_index, attempt, output, is_single)
), history as (
  update pgflow.step_tasks h set status = 'completed', output = u.output, finished_at = $7
  from u
  where h.run_id = u.run_id and h.step_slug = u.step_slug and h.task_index = u.task_index and h.attempt = u.attempt
)
update pgflow.step_states s
set status = 'completed', output = u.output, remaining_tasks = 0, finished_at = $7
from u
where u.is_single and s.run_id = u.run_id and s.step_slug = u.step_slug
