-- The options of a version.
-- Locks nothing: the lock of the flow keeps definers away, and a run changes no option.
select max_attempts, base_delay, timeout, max_delay, output_step_slug, executor, target, run_timeout
from pgflow.flow_versions
where flow_slug = $1 and version = $2
