-- Ends attempts and queues the next ones for the times in $7. The claim that finds one due gives it its turn.
-- Updates and inserts attempts, updates live rows; the caller holds the live rows.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::timestamptz[])
    u(run_id, step_slug, task_index, attempt, status, error_message, due_at)
), history as (
  update pgflow.step_tasks h set status = u.status, error_message = u.error_message, finished_at = $8
  from u
  where h.run_id = u.run_id and h.step_slug = u.step_slug and h.task_index = u.task_index and h.attempt = u.attempt
  returning h.run_id, h.step_slug, h.task_index, h.attempt, h.flow_slug
), next as (
  insert into pgflow.step_tasks (run_id, step_slug, task_index, attempt, flow_slug, status, queued_at)
  select h.run_id, h.step_slug, h.task_index, h.attempt + 1, h.flow_slug, 'queued', $8
  from history h
)
update pgflow.live_tasks t
set status = 'delayed', attempt = u.attempt + 1, ready_at = u.due_at, turn = t.turn + 1,
    lease = null, lease_expires_at = null
from u
where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
