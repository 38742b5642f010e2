-- A step as the caller gets it.
-- Locks nothing.
select s from pgflow.steps s where s.flow_slug = $1 and s.flow_version = $2 and s.step_slug = $3
