-- Whether a step is external in any version of its flow; null when the flow never had such a step.
-- Locks nothing.
select bool_or(s.executor = 'external')
from pgflow.steps s
where s.flow_slug = $1 and s.step_slug = $2
