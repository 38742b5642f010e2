-- The steps of a version, once more for the next one.
-- Locks nothing that others wait for.
insert into pgflow.steps (flow_slug, flow_version, step_slug, step_index, step_type, map_over, executor, target, queue,
                          start_mode, max_attempts, base_delay, timeout, start_delay, required_input_pattern,
                          forbidden_input_pattern, when_unmet, when_exhausted, created_at)
select flow_slug, $3, step_slug, step_index, step_type, map_over, executor, target, queue,
       start_mode, max_attempts, base_delay, timeout, start_delay, required_input_pattern,
       forbidden_input_pattern, when_unmet, when_exhausted, $4
from pgflow.steps
where flow_slug = $1 and flow_version = $2
