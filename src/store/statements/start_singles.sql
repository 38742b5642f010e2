-- Queues the tasks of single steps: an attempt and a live task each.
-- A task that is ready takes its turn after the last task of its run ($10), not before the head of its queue, and behind
-- the tasks that its run starts with it ($16). The queues are in $18 to $21, the head of each is searched from $21 on, and $17 says which one
-- a task that is ready belongs to.
-- Inserts attempts and live tasks; the caller holds the locks of the runs or has just made them.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::int[], $7::text[], $8::text[],
                       $9::int[], $10::bigint[], $11::timestamptz[], $12::int[], $13::boolean[], $14::timestamptz[],
                       $16::bigint[], $17::bigint[])
    u(run_id, step_slug, flow_slug, flow_version, definition_id, step_index, executor, queue,
      rank, turn, ready_at, timeout, opens_run, expires_at, place, lane)
), heads as materialized (
  select w.lane,
         coalesce((select l.turn from pgflow.live_tasks l
                   where l.queue = w.queue and l.executor = w.executor::"char" and l.rank = w.rank and l.turn >= w.head_from
                     and l.status = 'ready'
                   order by l.turn limit 1),
                  (extract(epoch from $15::timestamptz) * 1000000)::bigint) as turn
  from unnest($18::text[], $19::text[], $20::int[], $21::bigint[]) with ordinality w(queue, executor, rank, head_from, lane)
), history as (
  insert into pgflow.step_tasks
    (run_id, step_slug, task_index, attempt, flow_slug, status, queued_at, started_at)
  select u.run_id, u.step_slug, 0, 1, u.flow_slug,
         case when u.expires_at is null then 'queued' else 'started' end,
         $15, case when u.expires_at is not null then $15 end
  from u
)
insert into pgflow.live_tasks
  (run_id, step_slug, task_index, attempt, first_attempt, status, executor, queue, rank, turn, ready_at,
   step_index, opens_run, timeout, definition_id, flow_slug, flow_version, lease_expires_at)
select u.run_id, u.step_slug, 0, 1, 1,
       case when u.expires_at is not null then 'started' when u.ready_at <= $15 then 'ready' else 'delayed' end,
       u.executor::"char", u.queue, u.rank,
       greatest(u.turn, h.turn) + u.place,
       u.ready_at, u.step_index, u.opens_run, u.timeout, u.definition_id, u.flow_slug, u.flow_version, u.expires_at
from u
left join heads h on h.lane = u.lane
