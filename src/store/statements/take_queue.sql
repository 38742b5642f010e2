-- Takes a limited queue for a claim if nobody else has it, and returns its limits as limits.sql does. It is an update, so
-- that PostgreSQL refuses a snapshot (40001) that does not show what the claim before this one took.
-- Updates the row of the queue; skips it when someone else holds it.
update pgflow.queues q set claims = q.claims + 1
from (select l.queue from pgflow.queues l where l.queue = $1 for update skip locked) l
where q.queue = l.queue
returning q.is_paused, q.max_running, q.max_running_per_key, q.max_started, q.max_started_per_key,
          extract(epoch from q.period)::float8, q.awaits is not null
