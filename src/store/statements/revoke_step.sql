-- No longer lets a role complete an external step.
-- Deletes from step_grants.
delete from pgflow.step_grants where flow_slug = $1 and step_slug = $2 and role_name = $3::text::name
