-- The first ready task of an executor ($5) in a queue from a rank and turn on, below rank $4: its rank and turn.
-- Locks nothing.
select t.rank, t.turn from pgflow.live_tasks t
where t.queue = $1 and t.executor = $5::text::"char" and t.status = 'ready'
  and (t.rank, t.turn) >= ($2::int, $3::bigint) and t.rank < $4::bigint
order by t.rank, t.turn
limit 1
