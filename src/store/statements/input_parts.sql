-- What the inputs of tasks are made of: the payload of the run and the output of a dep, which is null if it has not
-- completed or there is none. Runs that are large are left out.
-- OFFSET 0 keeps the planner from looking at every state of the run for the one that is the dep.
-- Locks nothing.
select u.ordinal, r.payload, s.output
from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, dep, ordinal)
join pgflow.runs r on r.run_id = u.run_id and not r.large
left join lateral (
  select coalesce(s.output, 'null') as output from pgflow.step_states s
  where s.run_id = u.run_id and s.step_slug = u.dep and s.status = 'completed'
  offset 0) s on true
