-- What the roles $1 have to do with runs and a step of each, in the order given: their capabilities; whether one of them
-- made the run, null when there is no such run, and for whom it was made; whether one owns the flow; the executor of the
-- step; whether one was granted its queue, and whether one was granted the step.
-- Locks nothing.
select array(select distinct g.capability from pgflow.access_grants g where g.role_name = any($1::text[]::name[])),
       r.created_by = any($1::text[]::name[]), r.created_for,
       (select f.owner = any($1::text[]::name[]) from pgflow.flows f where f.flow_slug = r.flow_slug),
       s.executor,
       exists (select from pgflow.queue_grants g where g.queue = s.queue and g.role_name = any($1::text[]::name[])),
       exists (select from pgflow.step_grants g
               where g.flow_slug = r.flow_slug and g.step_slug = u.step_slug and g.role_name = any($1::text[]::name[]))
from unnest($2::uuid[], $3::text[]) with ordinality u(run_id, step_slug, ordinal)
left join pgflow.runs r on r.run_id = u.run_id
left join pgflow.steps s
  on s.flow_slug = r.flow_slug and s.flow_version = r.flow_version and s.step_slug = u.step_slug
order by u.ordinal
