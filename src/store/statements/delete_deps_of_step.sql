-- The edges that lead to a step of a version that no run has seen.
-- The row of the version is locked by the caller.
delete from pgflow.deps where flow_slug = $1 and flow_version = $2 and to_step_slug = $3
