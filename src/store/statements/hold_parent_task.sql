-- Whether a task of its parent still waits for a child, which stays so until the transaction ends.
-- Locks the live row against whoever would settle it, and waits for who does.
select true
from pgflow.runs c
join pgflow.live_tasks t
  on t.run_id = c.parent_run_id and t.step_slug = c.parent_step_slug and t.task_index = c.parent_task_index
where c.run_id = $1 and t.lease = c.parent_lease
for share of t
