-- The capabilities of the roles $1; whether one of them owns the flow $2, and whether one was granted its step $3.
-- Locks nothing.
select array(select distinct g.capability from pgflow.access_grants g where g.role_name = any($1::text[]::name[])),
       exists (select from pgflow.flows f where f.flow_slug = $2 and f.owner = any($1::text[]::name[])),
       exists (select from pgflow.step_grants g
               where g.flow_slug = $2 and g.step_slug = $3 and g.role_name = any($1::text[]::name[]))
