-- The owner of a flow.
-- Locks nothing.
select f.owner::text from pgflow.flows f where f.flow_slug = $1
