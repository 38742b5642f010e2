-- Every queue and executor with tasks that wait, and since when or until when: one step down an index for each, however
-- many tasks there are. What is ready for workers is theirs to find.
-- Locks nothing.
with recursive ready(queue, executor) as (
  (select t.queue, t.executor from pgflow.live_tasks t
   where t.status = 'ready'
   order by t.queue, t.executor limit 1)
  union all
  select n.queue, n.executor from ready r
  cross join lateral (
    select t.queue, t.executor from pgflow.live_tasks t
    where t.status = 'ready' and (t.queue, t.executor) > (r.queue, r.executor)
    order by t.queue, t.executor limit 1) n
), delayed(queue, executor, at) as (
  (select t.queue, t.executor, t.ready_at from pgflow.live_tasks t
   where t.status = 'delayed'
   order by t.queue, t.executor, t.ready_at limit 1)
  union all
  select n.queue, n.executor, n.ready_at from delayed d
  cross join lateral (
    select t.queue, t.executor, t.ready_at from pgflow.live_tasks t
    where t.status = 'delayed' and (t.queue, t.executor) > (d.queue, d.executor)
    order by t.queue, t.executor, t.ready_at limit 1) n
), started(queue, at) as (
  (select t.queue, t.lease_expires_at from pgflow.live_tasks t
   where t.status = 'started'
   order by t.queue, t.lease_expires_at limit 1)
  union all
  select n.queue, n.lease_expires_at from started s
  cross join lateral (
    select t.queue, t.lease_expires_at from pgflow.live_tasks t
    where t.status = 'started' and t.queue > s.queue
    order by t.queue, t.lease_expires_at limit 1) n
)
select o.queue::text, e.executor, o.at, o.waiting
from (select r.queue, r.executor, null::timestamptz as at, 'ready'::text as waiting from ready r where r.executor <> 'worker'
      union all
      select d.queue, d.executor, d.at, 'delayed' from delayed d
      union all
      select s.queue, 'worker', s.at, 'started' from started s where s.at < 'infinity') o
join (values ('worker'::"char", 'worker'::text), ('sql', 'sql'), ('http', 'http'), ('flow', 'flow')) e(letter, executor)
  on e.letter = o.executor
