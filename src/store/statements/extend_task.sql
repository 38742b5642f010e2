-- Lets the lease of a started task run from now on ($5 seconds, else the step's timeout); an external task that never
-- times out goes on so, and a timer has no lease.
-- Updates the live row.
update pgflow.live_tasks t
set lease_expires_at = case
      when t.lease_expires_at = 'infinity' then t.lease_expires_at
      else $6::timestamptz + make_interval(secs => coalesce($5::int, t.timeout))
    end
where t.run_id = $1 and t.step_slug = $2 and t.task_index = $3
  and t.lease_expires_at is not null and t.executor <> 'timer' and ($4::bigint is null or t.lease = $4)
returning t.attempt
