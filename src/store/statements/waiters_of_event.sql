-- The tasks of runs that wait for an event, with the definitions of the runs, and by and for whom they were created.
-- Locks nothing: the caller holds the locks of the runs.
select w.run_id, w.step_slug::text, w.task_index, t.definition_id, t.flow_slug::text, t.flow_version,
       r.created_by::text, r.created_for
from unnest($4::uuid[]) u(run_id)
join pgflow.event_waiters w
  on w.event_key = $1 and w.run_id = u.run_id and w.name = $2 and w.key is not distinct from $3
join pgflow.live_tasks t on t.run_id = w.run_id and t.step_slug = w.step_slug and t.task_index = w.task_index
join pgflow.runs r on r.run_id = w.run_id
order by w.run_id, w.step_slug, w.task_index
