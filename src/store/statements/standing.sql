-- Where tasks, their steps and their runs stand, in the order given; null where there is none.
-- Locks nothing.
select t.status, s.status, r.status, s.initial_tasks
from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality u(run_id, step_slug, task_index, ordinal)
left join pgflow.runs r on r.run_id = u.run_id
left join pgflow.step_states s on s.run_id = u.run_id and s.step_slug = u.step_slug
left join lateral (
  select t.status from pgflow.step_tasks t
  where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
  order by t.attempt desc limit 1) t on true
order by u.ordinal
