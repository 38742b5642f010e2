-- Removes steps of a version that no run has seen; deps that lead to them or come from them must have gone before.
-- The row of the version is locked by the caller.
delete from pgflow.steps where flow_slug = $1 and flow_version = $2 and step_slug = any ($3)
