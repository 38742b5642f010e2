-- Ends tasks that are not tried again.
-- Deletes live rows, updates attempts; the caller holds the locks of the runs and of the live rows.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[])
    u(run_id, step_slug, task_index, attempt, status, error_message)
), gone as (
  delete from pgflow.live_tasks t using u
  where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
)
update pgflow.step_tasks h set status = u.status, error_message = u.error_message, finished_at = $7
from u
where h.run_id = u.run_id and h.step_slug = u.step_slug and h.task_index = u.task_index and h.attempt = u.attempt
