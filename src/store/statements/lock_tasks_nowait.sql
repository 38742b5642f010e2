-- Makes sure that nobody holds one of these tasks or its run; fails with 55P03 if somebody does.
-- Locks the runs and the live tasks.
with runs as materialized (
  select r.run_id from unnest($1::uuid[]) u(run_id) join pgflow.runs r on r.run_id = u.run_id
  for no key update of r nowait
)
select count(*) from (
  select t.run_id
  from unnest($1::uuid[], $2::text[], $3::int[]) u(run_id, step_slug, task_index)
  join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
  where u.run_id in (select r.run_id from runs r)
  for update of t nowait
) held
