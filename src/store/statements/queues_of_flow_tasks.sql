-- The queues that have ready flow tasks, or such that have fallen due: from queue to queue, whatever lies in between.
-- Locks nothing.
with recursive ready as (
  (select t.queue from pgflow.live_tasks t where t.status = 'ready' order by t.queue limit 1)
  union all
  select (select t.queue from pgflow.live_tasks t where t.status = 'ready' and t.queue > q.queue order by t.queue limit 1)
  from ready q where q.queue is not null
), delayed as (
  (select t.queue from pgflow.live_tasks t where t.status = 'delayed' order by t.queue limit 1)
  union all
  select (select t.queue from pgflow.live_tasks t where t.status = 'delayed' and t.queue > q.queue order by t.queue limit 1)
  from delayed q where q.queue is not null
)
select q.queue::text from ready q
where q.queue is not null and exists (
  select from pgflow.live_tasks t where t.queue = q.queue and t.executor = 'f' and t.status = 'ready')
union
select q.queue::text from delayed q
where q.queue is not null and exists (
  select from pgflow.live_tasks t
  where t.queue = q.queue and t.executor = 'f' and t.status = 'delayed' and t.ready_at <= $1)
order by 1
