-- The edges of a version.
-- Locks nothing: the lock of the flow keeps definers away.
select from_step_slug, to_step_slug from pgflow.deps where flow_slug = $1 and flow_version = $2
