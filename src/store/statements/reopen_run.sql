-- Puts an ended run back to started; a child whose parent's task does not wait for it any more ($5) is on its own.
-- Updates the run; the caller holds its lock.
update pgflow.runs r
set status = 'started', error_message = null, output = null, finished_at = null,
    started_at = coalesce(r.started_at, $4),
    parent_lease = case when $5 then r.parent_lease end,
    remaining_leaves = (
      select count(*) from pgflow.step_states s
      where s.run_id = $1 and s.status not in ('completed', 'skipped')
        and not exists (select from pgflow.deps d
                        where d.flow_slug = $2 and d.flow_version = $3 and d.from_step_slug = s.step_slug))
where r.run_id = $1
