-- What was told of runs that is not as it should be: each change once, in order, a step behind those it depends on.
with told as (
  select *, lag(status) over (partition by run_id, step_slug order by n) as before,
         row_number() over (partition by run_id order by n) as no,
         lag(step_slug is null and status <> 'started') over (partition by run_id order by n) as is_over
  from realtime.told
)
select t.run_id, format('told %s %s first', coalesce(t.step_slug, 'run'), t.status) as problem
from told t
where t.no = 1 and not (t.step_slug is null and t.status = 'started')
  -- One without steps is over at once, and of one that had not started yet only the end is told.
  and exists (select from pgflow.runs r join pgflow.step_states s using (run_id) where r.run_id = t.run_id and r.start_at is null)
union all
select t.run_id, format('told %s %s after %s', coalesce(t.step_slug, 'run'), t.status, t.before)
from told t
where t.before is not null
  -- A step of a run that is retried may come to the same end without having started: its condition is unmet again.
  and (t.before in ('completed', 'skipped')
       or t.status = t.before and (t.step_slug is null or t.status not in ('cancelled', 'failed')))
union all
select t.run_id, format('told step %s %s after the end of the run', t.step_slug, t.status)
from told t
where t.is_over and t.step_slug is not null
union all
select r.run_id, format('the run is %s and was told to be %s', r.status, l.status)
from pgflow.runs r
left join lateral (select t.status from realtime.told t where t.run_id = r.run_id and t.step_slug is null order by n desc limit 1) l on true
where l.status is distinct from r.status
union all
-- A fork keeps steps that it tells nothing of.
select s.run_id, format('step %s is %s and was told to be %s', s.step_slug, s.status, l.status)
from pgflow.step_states s
join pgflow.runs r using (run_id)
left join lateral (select t.status from realtime.told t where t.run_id = s.run_id and t.step_slug = s.step_slug order by n desc limit 1) l on true
where coalesce(l.status, 'pending') <> s.status and not (l.status is null and r.parent_run_id is not null)
union all
select t.run_id, format('told step %s %s before %s', t.step_slug, t.status, d.from_step_slug)
from realtime.told t
join pgflow.runs r using (run_id)
join pgflow.deps d on (d.flow_slug, d.flow_version, d.to_step_slug) = (r.flow_slug, r.flow_version, t.step_slug)
where t.status in ('started', 'completed') and r.parent_run_id is null
  and not exists (select from realtime.told f
                  where f.run_id = t.run_id and f.step_slug = d.from_step_slug and f.n < t.n and f.status in ('completed', 'skipped'))
union all
select t.run_id, format('told step %s skipped before what skips it', t.step_slug)
from realtime.told t
join pgflow.runs r using (run_id)
where t.payload ->> 'skip_reason' = 'dependency_skipped'
  and not exists (select from pgflow.deps d
                  join realtime.told f on f.run_id = t.run_id and f.step_slug = d.from_step_slug and f.n < t.n and f.status = 'skipped'
                  where (d.flow_slug, d.flow_version, d.to_step_slug) = (r.flow_slug, r.flow_version, t.step_slug))
union all
select t.run_id, format('told another output of step %s', t.step_slug)
from realtime.told t
join pgflow.step_states s on s.run_id = t.run_id and s.step_slug = t.step_slug
where t.status = 'completed' and not t.payload ? 'fetch' and t.payload -> 'output' is distinct from s.output
