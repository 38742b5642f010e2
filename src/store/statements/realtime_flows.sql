-- The flows that are published, and whether only who may read their runs may learn what is in them.
-- Locks nothing.
select f.flow_slug::text, f.is_private from pgflow.realtime_flows f
