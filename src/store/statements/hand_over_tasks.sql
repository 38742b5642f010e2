-- Tasks that their endpoints accepted belong to no background worker any more; each is named by its lease, which lasts for
-- the timeout of its step from now ($5) on.
-- Updates live rows, skipping those that someone else holds, then attempts.
with accepted as materialized (
  select t.run_id, t.step_slug, t.task_index, t.attempt
  from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[]) u(run_id, step_slug, task_index, lease)
  join pgflow.live_tasks t
    on t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index and t.lease = u.lease
  where t.status = 'started'
  for update of t skip locked
), leased as (
  update pgflow.live_tasks t set lease_expires_at = $5::timestamptz + make_interval(secs => t.timeout)
  from accepted a
  where t.run_id = a.run_id and t.step_slug = a.step_slug and t.task_index = a.task_index
)
update pgflow.step_tasks h set worker_id = 'http'
from accepted a
where h.run_id = a.run_id and h.step_slug = a.step_slug and h.task_index = a.task_index and h.attempt = a.attempt
