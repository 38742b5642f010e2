-- Of flow tasks, in the order given: the flow that each is to run, the priority and the depth of its own run, and the flow
-- and the owner that it belongs to.
-- Locks nothing.
select s.target, r.priority, coalesce(r.depth, 0), r.flow_slug::text, f.owner::text
from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, step_slug, ordinal)
join pgflow.runs r on r.run_id = u.run_id
join pgflow.steps s
  on s.flow_slug = r.flow_slug and s.flow_version = r.flow_version and s.step_slug = u.step_slug
left join pgflow.flows f on f.flow_slug = r.flow_slug
order by u.ordinal
