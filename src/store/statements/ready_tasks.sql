-- The ready tasks of an executor ($5) in a queue, each with its flow and the key of its run, for a cursor: the walks in $2 to
-- $4, from a rank and turn to before a rank, are in the order of the queue.
-- Locks nothing.
select t.flow_slug::text, r.key, t.run_id, t.step_slug::text, t.task_index
from unnest($2::int[], $3::bigint[], $4::bigint[]) w(rank, turn, before)
cross join lateral (
  select t.flow_slug, t.run_id, t.step_slug, t.task_index
  from pgflow.live_tasks t
  where t.queue = $1 and t.executor = $5::text::"char" and t.status = 'ready'
    and (t.rank, t.turn) >= (w.rank, w.turn) and t.rank < w.before
  order by t.rank, t.turn, t.ready_at, t.step_index, t.task_index) t
join pgflow.runs r on r.run_id = t.run_id
