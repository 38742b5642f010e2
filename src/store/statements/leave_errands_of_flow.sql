-- Before the runs of a flow are deleted: their parents in other flows have lost a child, their children a parent.
-- Inserts errands; the table of runs is locked by the caller.
insert into pgflow.errands (run_id, errand_id, kind, due_at)
select r.run_id, $2, 'end_children', $3
from (
  select c.parent_run_id as run_id
  from pgflow.runs c
  join pgflow.live_tasks t
    on t.run_id = c.parent_run_id and t.step_slug = c.parent_step_slug and t.task_index = c.parent_task_index
  where c.flow_slug = $1 and c.parent_step_slug is not null and t.lease = c.parent_lease
  union
  select c.parent_run_id
  from pgflow.runs p
  join pgflow.runs c on c.parent_run_id = p.run_id
  where p.flow_slug = $1 and c.parent_step_slug is not null and c.status in ('pending', 'started')
) r
