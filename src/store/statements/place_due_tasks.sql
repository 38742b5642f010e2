-- Gives the tasks of an executor ($8) in a queue that fell due, from $5 on, their turn: not before the head of the queue ($4 stands in for it),
-- and the tasks of a run one after the other. The heads are searched from the ranks and turns in $6 and $7.
-- Updates live rows; skips those that someone else holds.
with due as materialized (
  select t.run_id, t.step_slug, t.task_index, t.rank, t.turn, t.ready_at, t.step_index
  from pgflow.live_tasks t
  where t.queue = $1 and t.executor = $8::text::"char" and t.status = 'delayed' and t.ready_at >= $5 and t.ready_at <= $2
  order by t.ready_at
  limit $3
  for update skip locked
), heads as materialized (
  select p.rank,
         coalesce((select l.turn from pgflow.live_tasks l
                   where l.queue = $1 and l.executor = $8::text::"char" and l.rank = p.rank and l.status = 'ready'
                     and l.turn >= p.head_from
                   order by l.turn limit 1), $4) as turn
  from (select d.rank, coalesce((select max(w.turn) from unnest($6::int[], $7::bigint[]) w(rank, turn)
                                 where w.rank = d.rank), -9223372036854775808) as head_from
        from due d group by d.rank) p
), placed as materialized (
  select d.run_id, d.step_slug, d.task_index,
         greatest(d.turn, h.turn) + row_number() over (
           partition by d.run_id, d.rank order by d.turn, d.ready_at, d.step_index, d.task_index) - 1 as turn
  from due d
  join heads h on h.rank = d.rank
)
update pgflow.live_tasks t
set status = 'ready', turn = p.turn
from placed p
where t.run_id = p.run_id and t.step_slug = p.step_slug and t.task_index = p.task_index
