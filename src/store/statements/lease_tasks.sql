-- Leases these tasks, those that are still ready. Returns the parts of each.
-- Updates live rows, skipping those that someone else holds.
with free as materialized (
  select t.run_id, t.step_slug, t.task_index, u.lease, u.ordinal
  from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[]) with ordinality
         u(run_id, step_slug, task_index, lease, ordinal)
  cross join lateral (
    select t.run_id, t.step_slug, t.task_index from pgflow.live_tasks t
    where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index and t.status = 'ready'
    for update skip locked) t
), leased as (
  update pgflow.live_tasks t
  set status = 'started', lease = f.lease,
      lease_expires_at = $5::timestamptz + make_interval(secs => coalesce($6::int, t.timeout))
  from free f
  where t.run_id = f.run_id and t.step_slug = f.step_slug and t.task_index = f.task_index
  returning t.opens_run, t.run_id, t.flow_slug::text, t.step_slug::text, t.task_index, t.attempt, t.lease,
            t.lease_expires_at, t.rank, t.turn, f.ordinal
)
select * from leased l order by l.ordinal
