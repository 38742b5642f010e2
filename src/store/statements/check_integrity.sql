-- The invariants of the engine that are violated, each as a sentence about the run. Every table is read as a whole and
-- joined as a whole: this statement wants the planner's own choice of scans and joins.
-- Locks nothing.
with version_steps as materialized (
  select p.flow_slug, p.flow_version, p.step_slug, p.step_index, p.step_type, p.executor, p.queue, p.start_mode,
         case p.executor when 'flow' then coalesce(p.timeout, 0) else coalesce(p.timeout, v.timeout) end as timeout,
         not exists (select from pgflow.deps d
                     where d.flow_slug = p.flow_slug and d.flow_version = p.flow_version
                       and d.from_step_slug = p.step_slug) as is_leaf
  from pgflow.steps p
  join pgflow.flow_versions v on v.flow_slug = p.flow_slug and v.version = p.flow_version
), states as materialized (
  select s.run_id, s.step_slug, s.flow_slug, s.status, s.remaining_deps, s.remaining_tasks, s.initial_tasks,
         s.is_counted,
         s.error_message is not null as has_message, s.output is not null as has_output,
         s.started_at is not null as has_started, s.finished_at is not null as has_finished, s.skip_reason,
         s.status in ('pending', 'started') as is_open,
         s.status in ('completed', 'skipped') as is_resolved,
         r.flow_slug as run_flow, r.flow_version, r.status as run_status,
         r.parent_run_id is not null and r.parent_step_slug is null as is_fork,
         p.step_type, p.start_mode, p.is_leaf,
         case when p.step_type = 'map' and s.status = 'completed' and jsonb_typeof(s.output) = 'array'
              then jsonb_array_length(s.output) end as elements
  from pgflow.step_states s
  left join pgflow.runs r on r.run_id = s.run_id
  left join version_steps p
    on p.flow_slug = r.flow_slug and p.flow_version = r.flow_version and p.step_slug = s.step_slug
), unresolved as (
  select s.run_id, d.to_step_slug as step_slug, count(*) as deps
  from states s
  join pgflow.deps d
    on d.flow_slug = s.run_flow and d.flow_version = s.flow_version and d.from_step_slug = s.step_slug
  where not s.is_resolved
  group by s.run_id, d.to_step_slug
), steps_of_run as (
  select s.run_id, count(*) filter (where s.is_open) as open,
         count(*) filter (where s.is_leaf and not s.is_resolved) as leaves
  from states s
  group by s.run_id
), history as (
  select t.run_id, t.step_slug, t.task_index, count(*) as attempts, min(t.attempt) as first, max(t.attempt) as last,
         min(t.attempt) filter (where t.status in ('queued', 'started', 'completed')) as hopeful,
         max(t.attempt) filter (where t.status = 'queued') as queued,
         max(t.attempt) filter (where t.status = 'started') as started,
         max(t.attempt) filter (where t.status = 'completed') as completed,
         min(t.flow_slug) as least_flow, max(t.flow_slug) as greatest_flow
  from pgflow.step_tasks t
  group by t.run_id, t.step_slug, t.task_index
), tasks as materialized (
  select run_id, step_slug, task_index, h.attempts, h.first, h.last, h.hopeful, h.least_flow, h.greatest_flow,
         case h.last when h.queued then 'queued' when h.started then 'started' when h.completed then 'completed'
                     else 'over' end as status,
         l.attempt as live_attempt, l.status as live_status
  from history h
  full join pgflow.live_tasks l using (run_id, step_slug, task_index)
), tasks_of_step as (
  select t.run_id, t.step_slug, count(*) as tasks, min(t.task_index) as first, max(t.task_index) as last,
         count(t.live_status) as live, count(*) filter (where t.status = 'completed') as completed
  from tasks t
  group by t.run_id, t.step_slug
), live_of_run as (
  select l.run_id, count(*) as tasks from pgflow.live_tasks l group by l.run_id
)
select r.run_id, c.problem
from pgflow.runs r
left join pgflow.flow_versions v on v.flow_slug = r.flow_slug and v.version = r.flow_version
left join steps_of_run s on s.run_id = r.run_id
left join live_of_run l on l.run_id = r.run_id
left join pgflow.idempotency_keys k on k.run_id = r.run_id
cross join lateral (select r.status in ('pending', 'started') as is_open, coalesce(s.open, 0) as open,
                           coalesce(s.leaves, 0) as leaves) o
cross join lateral unnest(array[
  case when v.version is null
       then format('version %s of flow "%s" does not exist', r.flow_version, r.flow_slug)
       when v.definition_id <> r.definition_id
       then format('version %s of flow "%s" has changed since the run took it', r.flow_version, r.flow_slug)
       when v.frozen_at is null
       then format('version %s of flow "%s" is not frozen though the run took it', r.flow_version, r.flow_slug) end,
  case when r.status not in ('pending', 'started', 'completed', 'failed', 'cancelled')
       then format('the run has unknown status "%s"', r.status)
       when (r.finished_at is not null) = o.is_open
       then format('the run is %s but has %s finished_at', r.status, case when o.is_open then 'a' else 'no' end) end,
  case when o.is_open and o.open = 0 then format('the run is %s but none of its steps is open', r.status)
       when not o.is_open and o.open > 0 then format('the run is %s but %s of its steps are open', r.status, o.open) end,
  case when not o.is_open and l.tasks > 0
       then format('the run is %s but %s of its tasks are live', r.status, l.tasks) end,
  -- The call that fails a run does not count the leaves that end in it.
  case when r.remaining_leaves <> o.leaves and v.version is not null and r.status <> 'failed'
       then format('the run says that %s of its leaves have not ended, but %s have not', r.remaining_leaves, o.leaves) end,
  case when r.status = 'pending' and r.start_at is null then 'the run is pending but has no start_at' end,
  case when r.status = 'pending' and r.started_at is not null then 'the run is pending but has a started_at'
       when r.status = 'started' and r.started_at is null then 'the run is started but has no started_at' end,
  case when r.output is not null and r.status <> 'completed'
       then format('the run is %s but has an output', r.status) end,
  case when r.error_message is null and r.status = 'failed' then 'the run is failed but has no error_message'
       when r.error_message is not null and r.status not in ('failed', 'cancelled')
       then format('the run is %s but has an error_message', r.status) end,
  case when k.run_id is null and r.idempotency_key is not null
       then format('idempotency key "%s" of the run is not kept', r.idempotency_key)
       when k.run_id is not null and (k.idempotency_key, k.flow_slug, k.created_by, k.created_for)
            is distinct from (r.idempotency_key, r.flow_slug, r.created_by, r.created_for)
       then format('idempotency key "%s" is kept for the run but is not that of the run', k.idempotency_key) end
]) c(problem)
where c.problem is not null
union all
select k.run_id, format('idempotency key "%s" of flow "%s" is kept for a run that does not exist', k.idempotency_key, k.flow_slug)
from pgflow.idempotency_keys k
where not exists (select from pgflow.runs r where r.run_id = k.run_id)
union all
select r.run_id, format('step "%s" has no state', p.step_slug)
from pgflow.runs r
join version_steps p on p.flow_slug = r.flow_slug and p.flow_version = r.flow_version
where not exists (select from states s where s.run_id = r.run_id and s.step_slug = p.step_slug)
union all
select s.run_id, c.problem
from states s
left join unresolved u on u.run_id = s.run_id and u.step_slug = s.step_slug
left join tasks_of_step t on t.run_id = s.run_id and t.step_slug = s.step_slug
cross join lateral (select coalesce(u.deps, 0) as deps, coalesce(t.tasks, 0) as tasks, coalesce(t.live, 0) as live,
                           coalesce(t.completed, 0) as completed) o
cross join lateral unnest(array[
  case when s.run_status is null then format('step "%s" has a state but its run does not exist', s.step_slug)
       when s.step_type is null
       then format('step "%s" has a state but is not in version %s of flow "%s"', s.step_slug, s.flow_version, s.run_flow)
       when s.flow_slug <> s.run_flow
       then format('step "%s" is of flow "%s" but its run is of flow "%s"', s.step_slug, s.flow_slug, s.run_flow) end,
  case when s.status not in ('pending', 'started', 'completed', 'failed', 'skipped', 'cancelled')
       then format('step "%s" has unknown status "%s"', s.step_slug, s.status)
       when s.has_finished = s.is_open
       then format('step "%s" is %s but has %s finished_at', s.step_slug, s.status, case when s.is_open then 'a' else 'no' end)
       when (s.skip_reason is not null) <> (s.status = 'skipped')
         or s.skip_reason not in ('condition_unmet', 'handler_failed', 'dependency_skipped')
       then format('step "%s" is %s with skip_reason "%s"', s.step_slug, s.status, s.skip_reason) end,
  case when s.step_type is not null and s.remaining_deps <> o.deps
       then format('step "%s" says that %s of its deps are unresolved, but %s are', s.step_slug, s.remaining_deps, o.deps) end,
  case when s.status in ('started', 'completed', 'failed') and o.deps > 0
       then format('step "%s" is %s but %s of its deps are unresolved', s.step_slug, s.status, o.deps)
       when s.status = 'pending' and s.run_status in ('pending', 'started') and s.start_mode = 'auto' and o.deps = 0
       then format('step "%s" is pending but its deps are resolved', s.step_slug) end,
  case when s.status = 'failed' and s.run_status <> 'failed'
         or s.status = 'cancelled' and s.run_status not in ('failed', 'cancelled')
       then format('step "%s" is %s but the run is %s', s.step_slug, s.status, s.run_status) end,
  case when s.status in ('started', 'completed') and not s.has_started
       then format('step "%s" is %s but has no started_at', s.step_slug, s.status) end,
  case when s.status = 'failed' and not s.has_message
       then format('step "%s" is failed but has no error_message', s.step_slug)
       when s.status in ('pending', 'started', 'completed') and s.has_message
       then format('step "%s" is %s but has an error_message', s.step_slug, s.status) end,
  case when s.status = 'completed' and not s.has_output
       then format('step "%s" is completed but has no output', s.step_slug)
       when s.status <> 'completed' and s.has_output
       then format('step "%s" is %s but has an output', s.step_slug, s.status)
       when s.status = 'completed' and s.step_type = 'map' and s.elements is null
       then format('the output of step "%s" is not an array', s.step_slug)
       when s.elements <> s.initial_tasks
       then format('the output of step "%s" has %s elements for %s tasks', s.step_slug, s.elements, s.initial_tasks) end,
  case when s.status in ('started', 'completed') and s.initial_tasks is null
       then format('step "%s" is %s but has no initial_tasks', s.step_slug, s.status)
       when s.status = 'started' and s.initial_tasks = 0
       then format('step "%s" is started but has no tasks', s.step_slug)
       when s.step_type = 'single' and s.initial_tasks <> 1
       then format('step "%s" is single but has %s tasks', s.step_slug, s.initial_tasks)
       when s.initial_tasks < 0
       then format('step "%s" has %s tasks', s.step_slug, s.initial_tasks) end,
  case when s.status = 'pending' and s.remaining_tasks is not null
       then format('step "%s" is pending but says that %s of its tasks have not completed', s.step_slug, s.remaining_tasks)
       when s.status = 'started' and not s.is_counted and (s.remaining_tasks > 0 and s.remaining_tasks >= o.live) is not true
       then format('step "%s" is not counted and says that %s of its tasks have not completed, but %s are live',
                   s.step_slug, coalesce(s.remaining_tasks::text, 'null'), o.live)
       when s.status = 'started' and s.is_counted and s.remaining_tasks is distinct from o.live
       then format('step "%s" says that %s of its tasks have not completed, but %s are live',
                   s.step_slug, coalesce(s.remaining_tasks::text, 'null'), o.live)
       when not s.is_open and s.remaining_tasks is distinct from 0
       then format('step "%s" is %s but says that %s of its tasks have not completed',
                   s.step_slug, s.status, coalesce(s.remaining_tasks::text, 'null')) end,
  case when s.status = 'started' and o.live = 0
       then format('step "%s" is started but none of its tasks is live', s.step_slug) end,
  case when s.status <> 'started' and o.live > 0
       then format('step "%s" is %s but %s of its tasks are live', s.step_slug, s.status, o.live)
       when s.status = 'started' and o.live + o.completed <> s.initial_tasks
       then format('step "%s" has %s tasks, but %s are live and %s completed',
                   s.step_slug, s.initial_tasks, o.live, o.completed)
       when s.status = 'pending' and o.tasks > 0
       then format('step "%s" is pending but has had tasks', s.step_slug)
       -- What a fork kept of its origin has no attempts of its own.
       when s.status = 'completed' and o.completed <> s.initial_tasks and not (s.is_fork and o.tasks = 0)
       then format('step "%s" is completed but %s of its %s tasks are', s.step_slug, o.completed, s.initial_tasks) end,
  case when t.first < 0 then format('step "%s" has a task %s', s.step_slug, t.first)
       when t.last >= coalesce(s.initial_tasks, 0)
       then format('step "%s" has a task %s but only %s tasks', s.step_slug, t.last, coalesce(s.initial_tasks, 0)) end
]) c(problem)
where c.problem is not null
union all
select t.run_id, c.problem
from tasks t
left join states s on s.run_id = t.run_id and s.step_slug = t.step_slug
cross join lateral unnest(array[
  case when s.run_id is null then format('task %s of step "%s" belongs to no step', t.task_index, t.step_slug)
       when t.least_flow <> s.flow_slug or t.greatest_flow <> s.flow_slug
       then format('task %s of step "%s" is of another flow than the step', t.task_index, t.step_slug) end,
  case when t.first <> 1 or t.last <> t.attempts
       then format('the attempts at task %s of step "%s" are not numbered from 1 without a gap', t.task_index, t.step_slug) end,
  case when t.hopeful < t.last
       then format('attempt %s at task %s of step "%s" has neither failed, expired nor been cancelled, but attempt %s follows',
                   t.hopeful, t.task_index, t.step_slug, t.last) end,
  case when t.attempts is null
       then format('task %s of step "%s" is live but has no attempt', t.task_index, t.step_slug)
       when t.live_status is null and t.status in ('queued', 'started')
       then format('attempt %s at task %s of step "%s" is %s but the task is not live',
                   t.last, t.task_index, t.step_slug, t.status)
       when t.live_attempt <> t.last
       then format('task %s of step "%s" is live with attempt %s, but attempt %s is the latest',
                   t.task_index, t.step_slug, t.live_attempt, t.last)
       when t.status <> case when t.live_status = 'started' then 'started'
                             when t.live_status is not null then 'queued' end
       then format('task %s of step "%s" is %s but its latest attempt is %s',
                   t.task_index, t.step_slug, t.live_status, t.status) end,
  case when s.run_status = 'pending' and t.live_status is null and t.status <> 'queued'
       then format('task %s of step "%s" has ended but the run is pending', t.task_index, t.step_slug) end
]) c(problem)
where c.problem is not null
union all
select t.run_id, format('attempt %s at task %s of step "%s" is %s with %s finished_at', t.attempt, t.task_index, t.step_slug,
                        t.status, case when t.finished_at is null then 'no' else 'a' end)
from pgflow.step_tasks t
where case when t.status in ('queued', 'started') then t.finished_at is not null
           when t.status in ('completed', 'failed', 'expired', 'cancelled') then t.finished_at is null
           else true end
union all
select l.run_id, c.problem
from pgflow.live_tasks l
left join pgflow.runs r on r.run_id = l.run_id
left join version_steps p
  on p.flow_slug = r.flow_slug and p.flow_version = r.flow_version and p.step_slug = l.step_slug
cross join lateral unnest(array[
  case when r.run_id is null
       then format('task %s of step "%s" is live but its run does not exist', l.task_index, l.step_slug)
       when (l.flow_slug, l.flow_version, l.definition_id, ~l.rank)
            is distinct from (r.flow_slug, r.flow_version, r.definition_id, r.priority)
       then format('live task %s of step "%s" differs from its run in flow, version, definition or priority',
                   l.task_index, l.step_slug) end,
  case when (l.step_index, l.executor, l.queue, l.timeout) <> (p.step_index, p.executor::"char", p.queue, p.timeout)
       then format('live task %s of step "%s" differs from its step in index, executor, queue or timeout',
                   l.task_index, l.step_slug) end,
  case when (l.item is not null) <> (p.step_type = 'map')
       then format('live task %s of step "%s" has %s', l.task_index, l.step_slug,
                   case when l.item is null then 'no item though the step is a map' else 'an item though the step is single' end) end,
  case when l.status not in ('delayed', 'ready', 'started')
       then format('live task %s of step "%s" has unknown status "%s"', l.task_index, l.step_slug, l.status)
       when (l.lease_expires_at is not null) <> (l.status = 'started')
       then format('live task %s of step "%s" is %s %s an end of its lease', l.task_index, l.step_slug, l.status,
                   case when l.lease_expires_at is null then 'without' else 'with' end)
       when l.lease not between 0 and 9007199254740991
       then format('lease %s of live task %s of step "%s" does not survive JavaScript', l.lease, l.task_index, l.step_slug) end,
  case when (l.lease is not null) <> (l.status = 'started' and l.executor not in ('external', 'timer'))
       then format('live task %s of step "%s" is %s %s a lease', l.task_index, l.step_slug, l.status,
                   case when l.lease is null then 'without' else 'with' end) end,
  case when l.executor = 'external' and l.status <> 'started'
       then format('live task %s of external step "%s" is %s', l.task_index, l.step_slug, l.status) end,
  case when l.first_attempt not between 1 and l.attempt
       then format('the budget of live task %s of step "%s" begins with attempt %s, but attempt %s is the latest',
                   l.task_index, l.step_slug, l.first_attempt, l.attempt) end,
  case when r.status = 'pending' and l.ready_at < r.start_at
       then format('live task %s of step "%s" is ready before the start of its run', l.task_index, l.step_slug) end
]) c(problem)
where c.problem is not null
union all
select d.run_id, 'a deadline is kept, but not the run'
from pgflow.run_deadlines d
left join pgflow.runs r on r.run_id = d.run_id
where r.run_id is null
union all
select r.run_id, 'the run is under way and its version has a run_timeout, but it has no deadline'
from pgflow.runs r
join pgflow.flow_versions v on v.flow_slug = r.flow_slug and v.version = r.flow_version
left join pgflow.run_deadlines d on d.run_id = r.run_id
where r.status in ('pending', 'started') and v.run_timeout is not null and d.run_id is null
union all
select coalesce(l.run_id, w.run_id),
       case when l.run_id is null
            then format('task %s of step "%s" waits for event "%s" but is not live', w.task_index, w.step_slug, w.name)
            when w.run_id is null
            then format('live task %s of step "%s" does not wait for event "%s"', l.task_index, l.step_slug, l.target)
            else format('live task %s of step "%s" waits for event "%s" instead of "%s"',
                        l.task_index, l.step_slug, w.name, l.target) end
from (
  select l.run_id, l.step_slug, l.task_index, p.target
  from pgflow.live_tasks l
  join pgflow.steps p on p.flow_slug = l.flow_slug and p.flow_version = l.flow_version and p.step_slug = l.step_slug
  where p.executor = 'external' and p.target is not null
) l
full join pgflow.event_waiters w
  on w.run_id = l.run_id and w.step_slug = l.step_slug and w.task_index = l.task_index
where w.name is distinct from l.target
union all
select t.run_id, format('task %s of step "%s" waits for a child, but %s', t.task_index, t.step_slug,
                        case when c.run_id is null then 'there is none' else format('run "%s" has ended', c.run_id) end)
from pgflow.live_tasks t
left join pgflow.runs c
  on c.parent_run_id = t.run_id and c.parent_step_slug = t.step_slug and c.parent_task_index = t.task_index
 and c.parent_lease = t.lease
where t.executor = 'f' and t.lease is not null and (c.run_id is null or c.finished_at is not null)
  and not exists (select from pgflow.errands e
                  where e.run_id = c.run_id and e.kind in ('tell_parent', 'tell_parent_for_good')
                     or e.run_id = t.run_id and e.kind = 'end_children')
union all
select c.run_id, format('the run is %s but task %s of step "%s" of its parent does not wait for it',
                        c.status, c.parent_task_index, c.parent_step_slug)
from pgflow.runs c
left join pgflow.live_tasks t
  on t.run_id = c.parent_run_id and t.step_slug = c.parent_step_slug and t.task_index = c.parent_task_index
 and t.lease = c.parent_lease
where c.parent_lease is not null and c.finished_at is null and t.run_id is null
  and not exists (select from pgflow.errands e where e.run_id = c.parent_run_id and e.kind = 'end_children')
union all
select c.run_id, 'the run has a lease of a parent''s task but is no child of one'
from pgflow.runs c
where (c.parent_lease is not null or c.depth is not null)
  and (c.parent_run_id is null or c.parent_step_slug is null or c.parent_task_index is null or c.depth is null)
union all
select null, format('version %s of flow "%s" is kept, but not the flow', v.version, v.flow_slug)
from pgflow.flow_versions v
left join pgflow.flows f on f.flow_slug = v.flow_slug
where f.flow_slug is null
union all
select null, format('step "%s" is kept, but not version %s of flow "%s"', p.step_slug, p.flow_version, p.flow_slug)
from pgflow.steps p
left join pgflow.flow_versions v on v.flow_slug = p.flow_slug and v.version = p.flow_version
where v.version is null
union all
select null, format('step "%s" of version %s of flow "%s" is an end of a dep, but is not kept', e.step_slug, e.flow_version, e.flow_slug)
from (
  select d.flow_slug, d.flow_version, d.from_step_slug as step_slug from pgflow.deps d
  union all
  select d.flow_slug, d.flow_version, d.to_step_slug from pgflow.deps d
) e
left join pgflow.steps p
  on p.flow_slug = e.flow_slug and p.flow_version = e.flow_version and p.step_slug = e.step_slug
where p.step_slug is null
order by 1, 2
