-- What is drawn of the states of a run's steps: counts and times, and no values, however large those are.
-- Locks nothing.
select s.step_slug::text, s.status, left(s.error_message, 1000), s.skip_reason, s.remaining_deps = 0,
       s.initial_tasks::bigint,
       -- The steps that a fork kept have no attempts of its own.
       case when s.status = 'completed' then s.initial_tasks else a.completed end,
       a.attempts, a.failed, s.started_at, s.finished_at
from pgflow.step_states s
cross join lateral (
  select count(*) as attempts,
         count(*) filter (where t.status = 'completed') as completed,
         count(*) filter (where t.status in ('failed', 'expired')) as failed
  from pgflow.step_tasks t
  where t.run_id = s.run_id and t.step_slug = s.step_slug) a
where s.run_id = $1
