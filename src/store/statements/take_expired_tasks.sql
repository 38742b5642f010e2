-- The tasks of a queue whose lease ran out, the oldest first.
-- Locks their live rows; skips those that someone else holds.
select t.run_id, t.step_slug::text, t.task_index, t.attempt, t.first_attempt,
       t.definition_id, t.flow_slug::text, t.flow_version, t.lease
from pgflow.live_tasks t
where t.queue = $1 and t.status = 'started' and t.lease_expires_at <= $2
order by t.lease_expires_at
limit $3
for update skip locked
