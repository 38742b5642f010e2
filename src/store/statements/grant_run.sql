-- Lets a role run a flow. The caller holds the row of the flow.
-- Inserts into run_grants.
insert into pgflow.run_grants (flow_slug, role_name, granted_by, granted_at)
values ($1, $2::text, $3::text, $4)
on conflict do nothing
