-- Starts single steps: an attempt and a live task each, and the states of the steps that are still pending ($16).
-- A task that is ready takes its turn after the last task of its run ($10), not before the head of its queue (searched from $18 on), and behind
-- the tasks that its run starts with it ($17).
-- Inserts attempts and live tasks, updates states; the caller holds the locks of the runs or has just made them.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::int[], $7::text[], $8::text[],
                       $9::int[], $10::bigint[], $11::timestamptz[], $12::int[], $13::boolean[], $14::timestamptz[],
                       $17::bigint[], $16::boolean[], $18::bigint[])
    u(run_id, step_slug, flow_slug, flow_version, definition_id, step_index, executor, queue,
      rank, turn, ready_at, timeout, opens_run, expires_at, place, is_pending, head_from)
), heads as materialized (
  select q.queue, q.executor, q.rank,
         coalesce((select l.turn from pgflow.live_tasks l
                   where l.queue = q.queue and l.executor = q.executor and l.rank = q.rank and l.turn >= q.head_from
                     and l.status = 'ready'
                   order by l.turn limit 1),
                  (extract(epoch from $15::timestamptz) * 1000000)::bigint) as turn
  from (select distinct u.queue, u.executor::"char", u.rank, u.head_from from u
        where u.expires_at is null and u.ready_at <= $15) q
), states as (
  update pgflow.step_states s
  set status = 'started', initial_tasks = 1, remaining_tasks = 1, started_at = $15
  from u
  where u.is_pending and s.run_id = u.run_id and s.step_slug = u.step_slug and s.status = 'pending'
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
left join heads h on h.queue = u.queue and h.executor = u.executor::"char" and h.rank = u.rank
