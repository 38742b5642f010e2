-- Notes that the live tasks of steps wait for events. Those that must look again ($6) are overdue from now on, so that the
-- next sweep of their queue does.
-- Inserts waiters, updates live rows; the caller holds the locks of the runs or has just made them, and the tasks.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[])
    u(run_id, step_slug, event_key, name, key, must_look_again)
), waiters as (
  insert into pgflow.event_waiters (run_id, step_slug, task_index, event_key, name, key, times_out_at)
  select t.run_id, t.step_slug, t.task_index, u.event_key, u.name, u.key, t.lease_expires_at
  from u
  join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug
)
update pgflow.live_tasks t set lease_expires_at = $7
from u
where u.must_look_again and t.run_id = u.run_id and t.step_slug = u.step_slug and t.lease_expires_at > $7
