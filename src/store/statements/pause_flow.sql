-- Pauses a flow.
-- Inserts a row; the caller holds that of the flow.
insert into pgflow.paused_flows (flow_slug, paused_at, paused_by) values ($1, $2, $3::text::name)
on conflict (flow_slug) do nothing
