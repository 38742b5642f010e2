-- Counts down the unresolved deps of step states, ended ones included, so that a stale snapshot is noticed, and starts
-- the steps that have none left if nothing else is to be asked ($4: single steps that start by themselves). Returns
-- what is left, and whether the step had not begun before.
-- Updates the rows; the caller holds the locks of the runs.
update pgflow.step_states s
set remaining_deps = s.remaining_deps - u.resolved,
    status = case when u.starts and s.remaining_deps = u.resolved and s.status = 'pending' then 'started' else s.status end,
    initial_tasks = case when u.starts and s.remaining_deps = u.resolved and s.status = 'pending' then 1 else s.initial_tasks end,
    remaining_tasks = case when u.starts and s.remaining_deps = u.resolved and s.status = 'pending' then 1 else s.remaining_tasks end,
    started_at = case when u.starts and s.remaining_deps = u.resolved and s.status = 'pending' then $5::timestamptz else s.started_at end
from unnest($1::uuid[], $2::text[], $3::int[], $4::boolean[]) with ordinality u(run_id, step_slug, resolved, starts, ordinal)
where s.run_id = u.run_id and s.step_slug = u.step_slug
returning u.ordinal, s.remaining_deps, s.status in ('pending', 'started'), s.status = 'started'
