-- Counts down the tasks of map steps that have not completed, where they are counted.
-- Updates the states; the caller holds the locks of the runs.
update pgflow.step_states s
set remaining_tasks = s.remaining_tasks - u.completed
from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality u(run_id, step_slug, completed, ordinal)
where s.run_id = u.run_id and s.step_slug = u.step_slug and s.is_counted
returning u.ordinal, s.remaining_tasks
