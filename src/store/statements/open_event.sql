-- An event that may not have reached everybody who waited for it.
-- Locks the row; skips those that someone else holds.
select e.event_id, e.event_key, e.name::text, e.key::text, e.taken_at
from pgflow.events e
where e.is_open and e.event_id > $1
order by e.event_id limit 1
for update skip locked
