-- Claims the next tasks of an executor ($9) in a queue: the walks in $6 to $8, from a rank and turn to before a rank, are
-- in the order of the queue, and one begins only when those before it are at their end. Returns the tasks and their places in the queue, which
-- the caller puts them in order by; whether a task opens its run; and the element of a map task.
-- A row that is locked stays where it is, and is updated there. One that somebody claimed and handed back since this
-- statement began is not seen where it is now, and is left for a later claim.
-- Leases are made of a random number ($5): to somebody who has none of this claim they are one, too.
-- Updates live rows, skipping those that someone else holds.
with next as materialized (
  select t.ctid
  from unnest($6::int[], $7::bigint[], $8::bigint[]) w(rank, turn, before)
  cross join lateral (
    select t.ctid
    from pgflow.live_tasks t
    where t.queue = $1 and t.executor = $9::text::"char" and t.status = 'ready'
      and (t.rank, t.turn) >= (w.rank, w.turn) and t.rank < w.before
    order by t.rank, t.turn, t.ready_at, t.step_index, t.task_index
    limit $2
    for update skip locked) t
  limit $2
)
update pgflow.live_tasks t
set status = 'started',
    lease = hashtextextended(t.step_slug, uuid_hash_extended(t.run_id, $5::bigint + t.task_index)) & 9007199254740991,
    lease_expires_at = case
      when t.timeout = 0 and $4::int is null then 'infinity'
      else $3::timestamptz + make_interval(secs => coalesce($4::int, t.timeout + $10::int))
    end
from next n
where t.ctid = n.ctid
returning t.run_id, t.definition_id, t.flow_slug::text, t.flow_version, t.step_slug::text, t.task_index, t.attempt, t.lease,
          t.lease_expires_at, t.rank, t.turn, t.ready_at, t.step_index, t.opens_run, t.item
