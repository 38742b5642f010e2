-- Grants a capability to a role, once.
-- Inserts into access_grants.
insert into pgflow.access_grants (role_name, capability, granted_by, granted_at)
values ($1::text, $2, $3::text, $4)
on conflict do nothing
