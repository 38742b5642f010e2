-- Queues the tasks of reopened steps of a run that have not completed, each as its next attempt with a new budget.
-- Returns the steps that have such tasks.
-- Inserts attempts and live tasks, updates states; the caller holds the lock of the run.
with u as materialized (
  select * from unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::timestamptz[], $8::text[],
                       $9::boolean[], $16::bigint[])
    u(step_slug, executor, queue, timeout, step_index, expires_at, map_over, is_map, head_from)
), items as (
  select u.*, 0 as task_index, null::jsonb as item from u where not u.is_map
  union all
  select u.*, (e.ordinality - 1)::int, e.value
  from u
  cross join lateral (
    select case when u.map_over is null
                then (select r.payload from pgflow.runs r where r.run_id = $1)
                else (select s.output from pgflow.step_states s where s.run_id = $1 and s.step_slug = u.map_over)
           end as elements) source
  cross join lateral jsonb_array_elements(source.elements) with ordinality e
  where u.is_map
), open as materialized (
  select i.*, coalesce(h.attempt, 0) + 1 as attempt
  from items i
  left join lateral (
    select t.attempt, t.status from pgflow.step_tasks t
    where t.run_id = $1 and t.step_slug = i.step_slug and t.task_index = i.task_index
    order by t.attempt desc limit 1) h on true
  where h.status is distinct from 'completed'
), heads as materialized (
  select q.queue, q.executor,
         coalesce((select l.turn from pgflow.live_tasks l
                   where l.queue = q.queue and l.executor = q.executor and l.rank = $13 and l.turn >= q.head_from and l.status = 'ready'
                   order by l.turn limit 1),
                  (extract(epoch from $14::timestamptz) * 1000000)::bigint) as turn
  from (select distinct u.queue, u.executor::"char", u.head_from from u) q
), counted as materialized (
  select o.step_slug, count(*)::int as tasks from open o group by o.step_slug
), states as (
  update pgflow.step_states s
  set status = 'started', remaining_tasks = c.tasks, is_counted = c.tasks < $15, started_at = coalesce(s.started_at, $14)
  from counted c
  where s.run_id = $1 and s.step_slug = c.step_slug
), history as (
  insert into pgflow.step_tasks (run_id, step_slug, task_index, attempt, flow_slug, status, queued_at, started_at)
  select $1, o.step_slug, o.task_index, o.attempt, $10,
         case when o.expires_at is null then 'queued' else 'started' end, $14,
         case when o.expires_at is not null then $14 end
  from open o
), live as (
  insert into pgflow.live_tasks
    (run_id, step_slug, task_index, attempt, first_attempt, status, executor, queue, rank, turn, ready_at,
     step_index, opens_run, timeout, definition_id, flow_slug, flow_version, lease_expires_at, item)
  select $1, o.step_slug, o.task_index, o.attempt, o.attempt,
         case when o.expires_at is null then 'ready' else 'started' end, o.executor::"char", o.queue, $13,
         h.turn + row_number() over (partition by o.queue, o.executor order by o.step_index, o.task_index) - 1,
         $14, o.step_index, false, o.timeout, $12, $10, $11, o.expires_at, o.item
  from open o
  join heads h on h.queue = o.queue and h.executor = o.executor::"char"
)
select c.step_slug from counted c
