-- How many steps a version has.
-- Locks nothing: the lock of the flow keeps definers away.
select count(*)::int from pgflow.steps where flow_slug = $1 and flow_version = $2
