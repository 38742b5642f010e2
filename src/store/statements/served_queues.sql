-- The queues that the roles $1 were granted, if one of them is a worker.
-- Locks nothing.
select distinct g.queue::text
from pgflow.queue_grants g
where g.role_name = any($1::text[]::name[])
  and exists (select from pgflow.access_grants a where a.role_name = any($1::text[]::name[]) and a.capability = 'worker')
order by 1
