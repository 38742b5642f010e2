-- When the first task of an executor ($5) in a queue fell due, from $3 on, and when the first lease of the queue ran out,
-- from $4 on; and whether a limit or a pause may hold tasks of it back.
-- Locks nothing.
select (select t.ready_at from pgflow.live_tasks t
        where t.queue = $1 and t.executor = $5::text::"char" and t.status = 'delayed'
          and t.ready_at >= $3 and t.ready_at <= $2
        order by t.ready_at limit 1),
       (select t.lease_expires_at from pgflow.live_tasks t
        where t.queue = $1 and t.status = 'started' and t.lease_expires_at >= $4 and t.lease_expires_at <= $2
        order by t.lease_expires_at limit 1),
       exists (select from pgflow.queues q where q.queue = $1) or exists (select from pgflow.paused_flows)
