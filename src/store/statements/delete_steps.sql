-- Empties a version that no run has seen; its deps must have been deleted.
-- The row of the version is locked by the caller.
delete from pgflow.steps where flow_slug = $1 and flow_version = $2
