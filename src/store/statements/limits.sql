-- The limits of a queue that is limited, and whether its claims are still to be fenced off (awaits).
-- Locks nothing.
select q.is_paused, q.max_running, q.max_running_per_key, q.max_started, q.max_started_per_key,
       extract(epoch from q.period)::float8, q.awaits is not null
from pgflow.queues q
where q.queue = $1
