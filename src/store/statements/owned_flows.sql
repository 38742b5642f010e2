-- The flows that the roles $1 own, if one of them is an author.
-- Locks nothing.
select f.flow_slug::text
from pgflow.flows f
where f.owner = any($1::text[]::name[])
  and exists (select from pgflow.access_grants g where g.role_name = any($1::text[]::name[]) and g.capability = 'author')
order by f.flow_slug
