-- The flow tasks under way of runs whose child is gone: its flow was deleted.
-- Locks nothing.
select t.run_id, t.step_slug::text, t.task_index, t.lease
from unnest($1::uuid[]) u(run_id)
join pgflow.live_tasks t on t.run_id = u.run_id
where t.executor = 'f' and t.lease is not null
  and not exists (
    select from pgflow.runs c
    where c.parent_run_id = t.run_id and c.parent_step_slug = t.step_slug and c.parent_task_index = t.task_index
      and c.parent_lease = t.lease
    offset 0)
limit $2
