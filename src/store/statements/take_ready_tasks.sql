-- Claims the next tasks of an executor ($10) in a queue: the walks in $7 to $9, from a rank and turn to before a rank, are
-- in the order of the queue, and one begins only when those before it are at their end. Returns the tasks and their places in the queue, which
-- the caller puts them in order by; whether a task opens its run; how many attempts were found to be marked as started (one
-- that was queued after this statement began is invisible to it, though its live row is not); and what the inputs are made
-- of: the element of a map task, else the payload and the outputs of the deps, unless the run is large.
-- So a task comes once for each dep of its step that completed, and once if there is none.
-- OFFSET 0 keeps the planner from looking at every state of the run for the few that are deps.
-- Updates live rows, skipping those that someone else holds, and their attempts.
with next as materialized (
  select t.run_id, t.step_slug, t.task_index, row_number() over ()::int as number
  from unnest($7::int[], $8::bigint[], $9::bigint[]) w(rank, turn, before)
  cross join lateral (
    select t.run_id, t.step_slug, t.task_index
    from pgflow.live_tasks t
    where t.queue = $1 and t.executor = $10::text::"char" and t.status = 'ready'
      and (t.rank, t.turn) >= (w.rank, w.turn) and t.rank < w.before
    order by t.rank, t.turn, t.ready_at, t.step_index, t.task_index
    limit $2
    for update skip locked) t
  limit $2
), leased as materialized (
  update pgflow.live_tasks t
  set status = 'started', lease = ($6::bigint[])[n.number],
      lease_expires_at = case
        when t.timeout = 0 and $4::int is null then 'infinity'
        else $3::timestamptz + make_interval(secs => coalesce($4::int, t.timeout + $11::int))
      end
  from next n
  where t.run_id = n.run_id and t.step_slug = n.step_slug and t.task_index = n.task_index
  returning t.run_id, t.flow_slug, t.flow_version, t.step_slug, t.task_index, t.attempt, t.lease, t.lease_expires_at,
            t.item, t.opens_run, t.rank, t.turn, t.ready_at, t.step_index
), history as (
  update pgflow.step_tasks h set status = 'started', started_at = $3, worker_id = $5
  from leased l
  where h.run_id = l.run_id and h.step_slug = l.step_slug and h.task_index = l.task_index and h.attempt = l.attempt
  returning 1
)
select l.run_id, l.flow_slug::text, l.step_slug::text, l.task_index, l.attempt, l.lease, l.lease_expires_at,
       l.rank, l.turn, l.ready_at, l.step_index, l.opens_run, (select count(*) from history),
       l.item, r.payload, i.from_step_slug::text, i.output
from leased l
left join lateral (
  select r.payload from pgflow.runs r where l.item is null and r.run_id = l.run_id and not r.large offset 0) r on true
left join lateral (
  select d.from_step_slug, coalesce(s.output, 'null') as output
  from pgflow.deps d
  cross join lateral (
    select s.output from pgflow.step_states s
    where s.run_id = l.run_id and s.step_slug = d.from_step_slug and s.status = 'completed'
    offset 0) s
  where r.payload is not null and d.flow_slug = l.flow_slug and d.flow_version = l.flow_version and d.to_step_slug = l.step_slug
  offset 0) i on true
