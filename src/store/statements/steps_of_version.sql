-- The steps of a version with their options resolved and their deps, in order of step_index.
-- Locks nothing.
select s.step_slug, s.step_index, s.step_type, s.map_over, s.executor, s.queue, s.start_mode = 'manual',
       coalesce(s.max_attempts, v.max_attempts), coalesce(s.base_delay, v.base_delay),
       coalesce(s.timeout, v.timeout), s.timeout is not null, coalesce(s.start_delay, 0),
       s.required_input_pattern is not null or s.forbidden_input_pattern is not null,
       s.when_unmet, s.when_exhausted,
       array(select d.from_step_slug::text from pgflow.deps d
             where d.flow_slug = s.flow_slug and d.flow_version = s.flow_version and d.to_step_slug = s.step_slug),
       s.target
from pgflow.flow_versions v
join pgflow.steps s on s.flow_slug = v.flow_slug and s.flow_version = v.version
where v.flow_slug = $1 and v.version = $2
order by s.step_index
