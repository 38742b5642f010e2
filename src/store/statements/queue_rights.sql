-- The capabilities of the roles $1, and whether one of them was granted the queue $2.
-- Locks nothing.
select array(select distinct g.capability from pgflow.access_grants g where g.role_name = any($1::text[]::name[])),
       exists (select from pgflow.queue_grants g where g.queue = $2 and g.role_name = any($1::text[]::name[]))
