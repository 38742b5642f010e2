-- Of map steps, in the order given: whether they can go on uncounted, since some of their tasks have not been handed out
-- yet; else how many of their tasks are live. Tasks are handed out mostly in the order of their index, so the last
-- hundred are looked at and no others: a map may as well be counted early.
-- Locks nothing.
select w.has_waiting,
       case when not w.has_waiting then
         (select count(*)::int from pgflow.live_tasks t where t.run_id = u.run_id and t.step_slug = u.step_slug)
       end
from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, step_slug, ordinal)
cross join lateral (
  select coalesce((
    select not s.is_counted and exists (
      select from pgflow.live_tasks t
      where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index >= s.initial_tasks - 100
        and t.task_index < s.initial_tasks and t.lease_expires_at is null
      offset 0)
    from pgflow.step_states s
    where s.run_id = u.run_id and s.step_slug = u.step_slug), false) as has_waiting
  offset 0) w
order by u.ordinal
