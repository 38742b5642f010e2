-- Lets an external task time out later: from now on ($5 seconds, else the step's timeout). One that never times out goes
-- on so, and one that is to look for its event again does that first.
-- Updates the live row and, after it, what is known of its wait.
with task as materialized (
  select t.run_id, t.step_slug, t.task_index, $6::timestamptz + make_interval(secs => coalesce($5::int, t.timeout)) as later,
         w.run_id is not null as waits, coalesce(w.times_out_at, t.lease_expires_at) as times_out_at
  from pgflow.live_tasks t
  left join pgflow.event_waiters w
    on w.run_id = t.run_id and w.step_slug = t.step_slug and w.task_index = t.task_index
  where t.run_id = $1 and t.step_slug = $2 and t.task_index = $3
    and t.executor = 'e' and t.lease_expires_at is not null and ($4::bigint is null or t.lease = $4)
  for update of t
), waiter as (
  update pgflow.event_waiters w set times_out_at = k.later
  from task k
  where w.run_id = k.run_id and w.step_slug = k.step_slug and w.task_index = k.task_index and k.times_out_at < 'infinity'
)
update pgflow.live_tasks t
set lease_expires_at = case
      when k.times_out_at = 'infinity' or k.waits and t.lease_expires_at <= $6 then t.lease_expires_at
      else k.later
    end
from task k
where t.run_id = k.run_id and t.step_slug = k.step_slug and t.task_index = k.task_index
returning t.attempt
