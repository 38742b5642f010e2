-- The capabilities that the roles $1 were granted.
-- Locks nothing.
select array(select distinct g.capability from pgflow.access_grants g where g.role_name = any($1::text[]::name[]))
