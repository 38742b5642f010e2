-- The names of the roles whose rights a role has: its own, and those that it inherits.
-- Locks nothing.
with recursive above(oid) as (
  select $1::oid
  union
  select m.roleid from above a join pg_catalog.pg_auth_members m on m.member = a.oid
)
select r.rolname::text
from above a
join pg_catalog.pg_roles r on r.oid = a.oid
where pg_has_role($1, r.oid, 'USAGE')
order by r.oid = $1 desc, r.rolname
