-- Takes a capability from a role.
-- Deletes from access_grants.
delete from pgflow.access_grants where role_name = $1::text::name and capability = $2
