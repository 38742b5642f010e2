-- A flow as its definers see it.
-- Locks the row of the flow, the mutex of its definition, until the transaction ends.
select version, owner::text, description
from pgflow.flows
where flow_slug = $1
for no key update
