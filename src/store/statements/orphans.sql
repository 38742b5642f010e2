-- The children under way of runs ($1) and of single tasks ($2 to $4) that no task of their parent waits for any more,
-- with their parents and what became of these; $5 at most.
-- Locks nothing.
select c.run_id, c.parent_run_id, p.status
from (
  select c.run_id, c.parent_run_id, c.parent_step_slug, c.parent_task_index, c.parent_lease
  from unnest($1::uuid[]) w(run_id)
  join pgflow.runs c on c.parent_run_id = w.run_id
  where c.parent_step_slug is not null and c.status in ('pending', 'started')
  union all
  select c.run_id, c.parent_run_id, c.parent_step_slug, c.parent_task_index, c.parent_lease
  from unnest($2::uuid[], $3::text[], $4::int[]) u(run_id, step_slug, task_index)
  join pgflow.runs c
    on c.parent_run_id = u.run_id and c.parent_step_slug = u.step_slug and c.parent_task_index = u.task_index
  where c.parent_step_slug is not null and c.status in ('pending', 'started')
) c
left join pgflow.runs p on p.run_id = c.parent_run_id
where c.parent_lease is not null
  and not exists (
    select from pgflow.live_tasks t
    where t.run_id = c.parent_run_id and t.step_slug = c.parent_step_slug and t.task_index = c.parent_task_index
      and t.lease = c.parent_lease
    offset 0)
limit $5
