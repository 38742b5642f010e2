-- Hands tasks back: the same attempts are queued again, due now.
-- Updates attempts and live rows; the caller holds the live rows.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::int[], $4::int[]) u(run_id, step_slug, task_index, attempt)
), history as (
  update pgflow.step_tasks h set status = 'queued', worker_id = null, started_at = null
  from u
  where h.run_id = u.run_id and h.step_slug = u.step_slug and h.task_index = u.task_index and h.attempt = u.attempt
)
update pgflow.live_tasks t
set status = 'delayed', ready_at = $5, lease = null, lease_expires_at = null
from u
where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
