-- The live tasks of steps: the ordinal of the step, and the index of the task.
-- Locks nothing: the caller holds the locks of the runs or has just made them.
select u.ordinal, t.task_index
from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, step_slug, ordinal)
join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug
order by u.ordinal, t.task_index
