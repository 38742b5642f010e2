-- Ends the leases that background workers hold whose processes are gone; worker ids are $2 and the number of the process.
-- A process that began after the attempt has the number by chance; a second is for clocks that are set.
-- Updates live rows, skipping those that someone else holds.
with orphans as materialized (
  select t.run_id, t.step_slug, t.task_index
  from pgflow.live_tasks t
  cross join lateral (
    select h.worker_id, h.started_at from pgflow.step_tasks h
    where h.run_id = t.run_id and h.step_slug = t.step_slug and h.task_index = t.task_index and h.attempt = t.attempt
    offset 0) h
  where t.status = 'started' and t.executor in ('sql', 'http') and t.lease_expires_at > $1
    and starts_with(h.worker_id, $2)
    and not exists (select from pg_catalog.pg_stat_get_activity(null) a where a.pid::text = substr(h.worker_id, length($2) + 1)
                      and a.backend_start <= h.started_at + interval '1 second')
  for update of t skip locked
)
update pgflow.live_tasks t
set lease_expires_at = $1
from orphans o
where t.run_id = o.run_id and t.step_slug = o.step_slug and t.task_index = o.task_index
