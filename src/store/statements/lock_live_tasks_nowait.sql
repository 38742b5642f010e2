-- lock_live_tasks.sql for a caller that must not wait; fails with 55P03 if somebody holds one of the tasks.
-- Locks the live rows; the caller holds the locks of the runs.
select from unnest($1::uuid[], $2::text[]) u(run_id, step_slug)
cross join lateral (
  select from pgflow.live_tasks t
  where t.run_id = u.run_id and (u.step_slug is null or t.step_slug = u.step_slug)
  for update nowait) t
