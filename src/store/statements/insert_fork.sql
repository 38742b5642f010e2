-- A new run with the states of an ended one: $10 says which steps keep theirs.
-- Inserts a run and its step states; the caller holds the lock of the origin.
with fork as (
  insert into pgflow.runs
    (run_id, flow_slug, flow_version, definition_id, status, payload, key, priority, created_by, created_for,
     parent_run_id, created_at, started_at, remaining_leaves, large)
  select $2, r.flow_slug, r.flow_version, r.definition_id, 'started', coalesce($3, r.payload), r.key, r.priority,
         $4::name, $5, r.run_id, $6, $6, $7, r.large or $8
  from pgflow.runs r where r.run_id = $1
)
insert into pgflow.step_states
  (run_id, step_slug, flow_slug, status, remaining_deps, remaining_tasks, initial_tasks, output, error_message,
   skip_reason, created_at, started_at, finished_at)
select $2, s.step_slug, s.flow_slug, case when u.is_kept then s.status else 'pending' end, u.remaining_deps,
       case when u.is_kept then s.remaining_tasks end, case when u.is_kept then s.initial_tasks end,
       case when u.is_kept then s.output end, case when u.is_kept then s.error_message end,
       case when u.is_kept then s.skip_reason end, $6,
       case when u.is_kept then s.started_at end, case when u.is_kept then s.finished_at end
from unnest($9::text[], $10::boolean[], $11::int[]) u(step_slug, is_kept, remaining_deps)
cross join lateral (
  select s.* from pgflow.step_states s where s.run_id = $1 and s.step_slug = u.step_slug offset 0) s
