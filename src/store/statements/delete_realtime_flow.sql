-- Publishes a flow no longer. Returns a row if it was published.
-- Deletes a row; the caller holds that of the flow.
delete from pgflow.realtime_flows f where f.flow_slug = $1 returning true
