-- Counts down the unresolved deps of step states, ended ones included, so that a stale snapshot is noticed.
-- Updates the rows; the caller holds the locks of the runs.
update pgflow.step_states s
set remaining_deps = s.remaining_deps - u.resolved
from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality u(run_id, step_slug, resolved, ordinal)
where s.run_id = u.run_id and s.step_slug = u.step_slug
returning u.ordinal, s.remaining_deps, s.status = 'pending'
