-- What is drawn of the steps of a version, in order of definition.
-- Locks nothing.
select s.step_slug::text, s.executor, s.target, s.step_type = 'map', s.start_mode = 'manual'
from pgflow.steps s
where s.flow_slug = $1 and s.flow_version = $2
order by s.step_index
