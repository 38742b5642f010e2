-- The capabilities of the roles $1; whether one of them owns the flow $2, null when there is no such flow; and whether
-- one was granted to run it.
-- Locks nothing.
select array(select distinct g.capability from pgflow.access_grants g where g.role_name = any($1::text[]::name[])),
       (select f.owner = any($1::text[]::name[]) from pgflow.flows f where f.flow_slug = $2),
       exists (select from pgflow.run_grants g where g.flow_slug = $2 and g.role_name = any($1::text[]::name[]))
