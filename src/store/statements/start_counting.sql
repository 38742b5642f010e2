-- Counts what is left of map steps: $3 tasks of each are live.
-- Updates the states; the caller holds the locks of the runs.
update pgflow.step_states s
set is_counted = true, remaining_tasks = u.live
from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality u(run_id, step_slug, live, ordinal)
where s.run_id = u.run_id and s.step_slug = u.step_slug
returning u.ordinal, s.remaining_tasks
