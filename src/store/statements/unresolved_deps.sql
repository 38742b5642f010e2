-- The deps that a step waits for.
-- Locks nothing.
select d.from_step_slug::text
from pgflow.deps d
join pgflow.step_states s on s.run_id = $1 and s.step_slug = d.from_step_slug
where d.flow_slug = $3 and d.flow_version = $4 and d.to_step_slug = $2 and s.status not in ('completed', 'skipped')
order by 1
