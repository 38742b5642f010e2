-- New child runs with a state for every step ($13 says which begin at once), each for a task of its parent, whose key,
-- priority and creator it takes over.
-- Inserts runs and step states.
with u as materialized (
  select * from unnest($1::uuid[], $2::jsonb[], $3::uuid[], $4::text[], $5::int[], $6::bigint[])
    u(run_id, payload, parent_run_id, parent_step_slug, parent_task_index, parent_lease)
), new_runs as (
  insert into pgflow.runs
    (run_id, flow_slug, flow_version, definition_id, status, payload, key, priority, created_by, created_for,
     parent_run_id, parent_step_slug, parent_task_index, parent_lease, depth,
     created_at, started_at, finished_at, remaining_leaves, large)
  select u.run_id, $7, $8, $9, $10, u.payload, p.key, p.priority, p.created_by, p.created_for,
         u.parent_run_id, u.parent_step_slug, u.parent_task_index, u.parent_lease, coalesce(p.depth, 0) + 1,
         $11::timestamptz, $11, case when $10 = 'completed' then $11 end, $12, pg_column_size(u.payload) > $14
  from u
  join pgflow.runs p on p.run_id = u.parent_run_id
)
insert into pgflow.step_states
  (run_id, step_slug, flow_slug, status, remaining_deps, remaining_tasks, initial_tasks, created_at, started_at)
select u.run_id, s.step_slug, $7, case when s.is_started then 'started' else 'pending' end, s.remaining_deps,
       case when s.is_started then 1 end, case when s.is_started then 1 end, $11,
       case when s.is_started then $11 end
from u
cross join unnest($15::text[], $16::int[], $13::boolean[]) s(step_slug, remaining_deps, is_started)
