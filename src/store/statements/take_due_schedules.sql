-- Schedules that are due, the longest due first.
-- Locks their rows; skips those that someone else holds.
select s.name, s.flow_slug, s.cron, s.payload, s.time_zone, s.catch_up, s.priority, s.key, s.owner::text, s.next_run_at
from pgflow.schedules s
where s.next_run_at <= $1
order by s.next_run_at
limit $2
for update skip locked
