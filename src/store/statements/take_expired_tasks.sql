-- The tasks of a queue whose lease ran out, from $5 on, the oldest first: those with attempts left, or those without ($4), whose runs
-- this takes the locks of. Runs that someone else has locked are passed over, so that they hold nobody up.
-- Locks the live rows, and runs; skips what someone else holds.
select t.run_id, t.step_slug::text, t.task_index, t.lease,
       case when t.executor = 'timer' then to_jsonb(t.lease_expires_at) end
from pgflow.live_tasks t
where t.queue = $1 and t.status = 'started' and t.lease_expires_at >= $5 and t.lease_expires_at <= $2
  and case
        when t.executor in ('external', 'timer') or t.attempt - t.first_attempt + 1 >= (
          select coalesce(s.max_attempts, v.max_attempts)
          from pgflow.flow_versions v
          join pgflow.steps s on s.flow_slug = v.flow_slug and s.flow_version = v.version
          where v.flow_slug = t.flow_slug and v.version = t.flow_version and s.step_slug = t.step_slug)
        then $4 and pg_try_advisory_xact_lock(pgflow_locks.run_key(t.run_id))
        else not $4
      end
order by t.lease_expires_at
limit $3
for update skip locked
