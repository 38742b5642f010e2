-- One step of a version with its deps in order, to be compared with a new definition.
-- Locks nothing: the lock of the flow keeps definers away.
select step_slug, array(select d.from_step_slug from pgflow.deps d
                        where d.flow_slug = s.flow_slug and d.flow_version = s.flow_version and d.to_step_slug = s.step_slug
                        order by d.from_step_slug),
       step_type, map_over, executor, target, queue, start_mode, max_attempts, base_delay, timeout, start_delay,
       required_input_pattern::text, forbidden_input_pattern::text, when_unmet, when_exhausted, step_index
from pgflow.steps s
where flow_slug = $1 and flow_version = $2 and step_slug = $3
