-- A flow as the caller gets it.
-- Locks nothing.
select f from pgflow.flows f where f.flow_slug = $1
