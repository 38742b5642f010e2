-- How long a flow's runs are kept after their end.
-- Updates the flow, whose row the caller has locked.
update pgflow.flows f set keep = $2 where f.flow_slug = $1
