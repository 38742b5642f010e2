-- The flows that the roles $1 own or were granted, if one of them is a client or an author.
-- Locks nothing.
select f.flow_slug::text
from (select f.flow_slug from pgflow.flows f where f.owner = any($1::text[]::name[])
      union
      select g.flow_slug from pgflow.run_grants g where g.role_name = any($1::text[]::name[])) f
where exists (select from pgflow.access_grants g
              where g.role_name = any($1::text[]::name[]) and g.capability in ('client', 'author'))
order by f.flow_slug
