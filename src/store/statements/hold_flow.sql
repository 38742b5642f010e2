-- Whether there is a flow, which then stays until the transaction ends.
-- Locks the row of the flow against delete_flow: waits for one under way, and not for definers.
select from pgflow.flows f where f.flow_slug = $1 for key share
