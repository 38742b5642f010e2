-- Publishes a flow, or changes for whom.
-- Inserts or updates a row; the caller holds that of the flow.
insert into pgflow.realtime_flows (flow_slug, is_private, enabled_at, enabled_by) values ($1, $2, $3, $4::text::name)
on conflict (flow_slug) do update set is_private = excluded.is_private
