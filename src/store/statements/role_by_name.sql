-- The oid of a role; no row when it was dropped.
-- Locks nothing.
select oid from pg_catalog.pg_roles where rolname = $1::name
