-- A schedule's owner, whether it is what $2 to $8 say, and the schedule.
-- Locks the row, the mutex of its changes and ticks, until the transaction ends.
select s.owner::text,
       (s.flow_slug, s.cron, s.payload, s.time_zone, s.catch_up, s.priority, s.key)
         is not distinct from ($2::text, $3::text, $4::jsonb, $5::text, $6::text, $7::int, $8::text),
       s
from pgflow.schedules s
where s.name = $1
for update
