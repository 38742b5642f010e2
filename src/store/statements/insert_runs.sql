-- New runs with a state for every step; $3 says which of the payloads start one, $19 which steps begin at once.
-- Inserts runs and step states.
with u as materialized (
  select u.* from unnest($1::uuid[], $2::jsonb[], $3::boolean[], $4::text[])
    u(run_id, payload, is_new, idempotency_key)
  where u.is_new
), new_runs as (
  insert into pgflow.runs
    (run_id, flow_slug, flow_version, definition_id, status, payload, key, priority, idempotency_key,
     created_by, created_for, created_at, start_at, started_at, finished_at, remaining_leaves, large)
  select u.run_id, $5, $6, $7, $8, u.payload, $10, $9, u.idempotency_key,
         $11::name, $12, $14::timestamptz, $13::timestamptz, case when $8 <> 'pending' then $14 end,
         case when $8 = 'completed' then $14 end, $15, pg_column_size(u.payload) > $16
  from u
)
insert into pgflow.step_states
  (run_id, step_slug, flow_slug, status, remaining_deps, remaining_tasks, initial_tasks, created_at, started_at)
select u.run_id, s.step_slug, $5, case when s.is_started then 'started' else 'pending' end, s.remaining_deps,
       case when s.is_started then 1 end, case when s.is_started then 1 end, $14,
       case when s.is_started then $14 end
from u
cross join unnest($17::text[], $18::int[], $19::boolean[]) s(step_slug, remaining_deps, is_started)
