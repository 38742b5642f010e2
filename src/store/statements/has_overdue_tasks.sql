-- Whether a queue has tasks that fell due, and whether it has leases that ran out.
-- Locks nothing.
select exists (select from pgflow.live_tasks t
               where t.queue = $1 and t.status = 'delayed' and t.executor = 'worker' and t.ready_at <= $2),
       exists (select from pgflow.live_tasks t
               where t.queue = $1 and t.status = 'started' and t.lease_expires_at <= $2)
