-- The queues of tasks that are under way, in the order given; null for others.
-- Locks nothing.
select t.queue::text
from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality u(run_id, step_slug, task_index, ordinal)
left join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
order by u.ordinal
