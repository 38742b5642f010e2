-- The started tasks that a batch says are done, with the right lease or with none: they leave the live ones. The arrays
-- are in the order of the keys, and so are the rows met: batches that overlap wait for each other in one direction.
-- Started is said by lease_expires_at: by status, a planner without statistics would walk all leases for each task.
-- Deletes live rows, which nobody holds for long: claimers wait for nothing, and others hold the run's lock.
delete from pgflow.live_tasks t
using unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[]) with ordinality
        u(run_id, step_slug, task_index, lease, ordinal)
where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
  and t.lease_expires_at is not null and (u.lease is null or t.lease = u.lease)
returning u.ordinal, t.attempt, t.first_attempt, t.turn, ~t.rank, t.opens_run,
          t.definition_id, t.flow_slug::text, t.flow_version
