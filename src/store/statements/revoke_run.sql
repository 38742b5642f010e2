-- No longer lets a role run a flow.
-- Deletes from run_grants.
delete from pgflow.run_grants where flow_slug = $1 and role_name = $2::text::name
