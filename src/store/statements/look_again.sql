-- Makes the tasks of other runs than $4 overdue that wait for an event, and whose runs existed at $5: the next sweep of
-- their queue finds the event for them.
-- Updates live rows; skips those that someone else holds.
with waiting as materialized (
  select t.run_id, t.step_slug, t.task_index
  from pgflow.event_waiters w
  join pgflow.runs r on r.run_id = w.run_id and r.created_at <= $5
  join pgflow.live_tasks t on t.run_id = w.run_id and t.step_slug = w.step_slug and t.task_index = w.task_index
  where w.event_key = $1 and w.name = $2 and w.key is not distinct from $3 and w.run_id <> all ($4::uuid[])
    and t.lease_expires_at > $6
  for update of t skip locked
)
update pgflow.live_tasks t set lease_expires_at = $6
from waiting w
where t.run_id = w.run_id and t.step_slug = w.step_slug and t.task_index = w.task_index
