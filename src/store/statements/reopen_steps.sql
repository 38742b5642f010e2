-- Makes the failed and cancelled steps of a run pending. Returns each, whether its deps are resolved, and whether it
-- has had tasks.
-- Updates the states; the caller holds the lock of the run.
update pgflow.step_states s
set status = 'pending', output = null, error_message = null, finished_at = null, remaining_tasks = null,
    remaining_deps = (
      select count(*) from pgflow.deps d
      cross join lateral (
        select p.status from pgflow.step_states p where p.run_id = $1 and p.step_slug = d.from_step_slug offset 0) p
      where d.flow_slug = $2 and d.flow_version = $3 and d.to_step_slug = s.step_slug
        and p.status not in ('completed', 'skipped'))
where s.run_id = $1 and s.status in ('failed', 'cancelled')
returning s.step_slug::text, s.remaining_deps = 0, s.initial_tasks is not null
