-- Starts map steps: takes the elements out of the payload or of the dep's output ($16), and makes an attempt and a live
-- task of each; see start_singles.sql for the turns. A map of $19 tasks or more is not counted until all are handed out.
-- Inserts attempts and live tasks, updates states; the caller holds the locks of the runs or has just made them.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::int[], $7::text[], $8::text[],
                       $9::int[], $10::bigint[], $11::timestamptz[], $12::int[], $13::boolean[], $14::timestamptz[],
                       $16::text[], $17::int[], $18::bigint[], $20::bigint[])
    u(run_id, step_slug, flow_slug, flow_version, definition_id, step_index, executor, queue,
      rank, turn, ready_at, timeout, opens_run, expires_at, map_over, size, place, head_from)
), heads as materialized (
  select q.queue, q.executor, q.rank,
         coalesce((select l.turn from pgflow.live_tasks l
                   where l.queue = q.queue and l.executor = q.executor and l.rank = q.rank and l.turn >= q.head_from
                     and l.status = 'ready'
                   order by l.turn limit 1),
                  (extract(epoch from $15::timestamptz) * 1000000)::bigint) as turn
  from (select distinct u.queue, u.executor::"char", u.rank, u.head_from from u
        where u.expires_at is null and u.ready_at <= $15) q
), items as materialized (
  select u.*, (e.ordinality - 1)::int as task_index, e.value as item
  from u
  cross join lateral (
    select case when u.map_over is null
                then (select r.payload from pgflow.runs r where r.run_id = u.run_id)
                else (select s.output from pgflow.step_states s
                      where s.run_id = u.run_id and s.step_slug = u.map_over)
           end as elements) source
  cross join lateral jsonb_array_elements(source.elements) with ordinality e
), states as (
  update pgflow.step_states s
  set status = 'started', initial_tasks = u.size, remaining_tasks = u.size, is_counted = u.size < $19, started_at = $15
  from u
  where s.run_id = u.run_id and s.step_slug = u.step_slug and s.status = 'pending'
), history as (
  insert into pgflow.step_tasks
    (run_id, step_slug, task_index, attempt, flow_slug, status, queued_at, started_at)
  select i.run_id, i.step_slug, i.task_index, 1, i.flow_slug,
         case when i.expires_at is null then 'queued' else 'started' end,
         $15, case when i.expires_at is not null then $15 end
  from items i
)
insert into pgflow.live_tasks
  (run_id, step_slug, task_index, attempt, first_attempt, status, executor, queue, rank, turn, ready_at,
   step_index, opens_run, timeout, definition_id, flow_slug, flow_version, lease_expires_at, item)
select i.run_id, i.step_slug, i.task_index, 1, 1,
       case when i.expires_at is not null then 'started' when i.ready_at <= $15 then 'ready' else 'delayed' end,
       i.executor::"char", i.queue, i.rank,
       greatest(i.turn, h.turn) + i.place + i.task_index,
       i.ready_at, i.step_index, i.opens_run, i.timeout, i.definition_id, i.flow_slug, i.flow_version, i.expires_at,
       i.item
from items i
left join heads h on h.queue = i.queue and h.executor = i.executor::"char" and h.rank = i.rank
