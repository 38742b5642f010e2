-- A flow's latest version and description.
-- Locks the row of the flow.
update pgflow.flows
set version = $2, description = $3, updated_at = $4
where flow_slug = $1
