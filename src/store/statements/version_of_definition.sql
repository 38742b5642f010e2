-- The options of a version that steer a run, if the version still is the definition asked for.
-- Locks nothing.
select v.max_delay, v.output_step_slug, v.run_timeout
from pgflow.flow_versions v
where v.flow_slug = $1 and v.version = $2 and v.definition_id = $3
