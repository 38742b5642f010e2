-- How children ended whose parent's task still waits for them, and which task that is.
-- Locks nothing.
select c.run_id, c.parent_run_id, c.parent_step_slug::text, c.parent_task_index, c.parent_lease,
       c.status, c.output, c.error_message
from unnest($1::uuid[]) u(run_id)
join pgflow.runs c on c.run_id = u.run_id
join pgflow.live_tasks t
  on t.run_id = c.parent_run_id and t.step_slug = c.parent_step_slug and t.task_index = c.parent_task_index
where c.finished_at is not null and c.parent_step_slug is not null and t.lease = c.parent_lease
