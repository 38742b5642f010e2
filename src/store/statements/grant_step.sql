-- Lets a role complete an external step, in every version of its flow. The caller holds the row of the flow.
-- Inserts into step_grants.
insert into pgflow.step_grants (flow_slug, step_slug, role_name, granted_by, granted_at)
values ($1, $2, $3::text, $4::text, $5)
on conflict do nothing
