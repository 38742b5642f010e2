-- Attempts at the tasks of step $2 of run $1 that the role in force sees, in order: with $3 those that failed or lost their
-- lease; unless $4 is null those behind attempt $5 of task $4; $6 of them.
-- Locks nothing.
select coalesce(json_agg(t), '[]')::text
from (
  select t.task_index, t.attempt, t.status, t.worker_id, t.queued_at, t.started_at, t.finished_at, t.error_message
  from pgflow.step_tasks t
  where t.run_id = $1 and t.step_slug = $2 and (not $3 or t.status in ('failed', 'expired'))
    and ($4::int is null or (t.task_index, t.attempt) > ($4::int, $5::int))
  order by t.task_index, t.attempt
  limit $6) t
