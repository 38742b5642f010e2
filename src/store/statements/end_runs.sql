-- Ends runs early: their live tasks go, what is unfinished is cancelled. Returns the runs that ended, whether each is a
-- child, whether it had children under way, and what it is a run of.
-- Updates live tasks, attempts, states and the runs, in this order; the caller holds the locks of the runs.
with u as materialized (
  select * from unnest($1::uuid[], $2::text[]) u(run_id, error_message)
), gone as (
  delete from pgflow.live_tasks t using u where t.run_id = u.run_id
  returning t.run_id, t.step_slug, t.task_index, t.attempt, t.executor = 'f' and t.lease is not null as has_child
), history as (
  update pgflow.step_tasks h set status = 'cancelled', finished_at = $4
  from gone g
  where h.run_id = g.run_id and h.step_slug = g.step_slug and h.task_index = g.task_index and h.attempt = g.attempt
), states as (
  update pgflow.step_states s set status = 'cancelled', remaining_tasks = 0, finished_at = $4
  from u
  where s.run_id = u.run_id and s.status in ('pending', 'started')
)
update pgflow.runs r set status = $3, error_message = u.error_message, finished_at = $4
from u
where r.run_id = u.run_id and r.status in ('pending', 'started')
returning r.run_id, r.parent_step_slug is not null, r.run_id in (select g.run_id from gone g where g.has_child),
          r.definition_id, r.flow_slug::text, r.flow_version
