-- The first $4 runs that wait for an event.
-- Locks nothing.
select distinct w.run_id
from pgflow.event_waiters w
where w.event_key = $1 and w.name = $2 and w.key is not distinct from $3
order by w.run_id
limit $4
