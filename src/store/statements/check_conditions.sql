-- For each step, in the order given: whether its required pattern is contained in its condition input, and whether its
-- forbidden one is. The condition input is the payload at a root, else an object of the outputs of completed deps; a
-- pattern is contained in that object when each of its members is contained in the output it names.
-- Locks nothing.
select contained.required, contained.forbidden
from unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) with ordinality
       u(run_id, step_slug, flow_slug, flow_version, ordinal)
join pgflow.runs r on r.run_id = u.run_id
join pgflow.steps p
  on p.flow_slug = u.flow_slug and p.flow_version = u.flow_version and p.step_slug = u.step_slug
cross join lateral (
  select not exists (select from pgflow.deps d
                     where d.flow_slug = u.flow_slug and d.flow_version = u.flow_version
                       and d.to_step_slug = u.step_slug) as is_root) root
cross join lateral (
  select coalesce(bool_and(c.is_contained) filter (where k.is_required), true) as required,
         coalesce(bool_and(c.is_contained) filter (where not k.is_required), false) as forbidden
  from (values (true, p.required_input_pattern), (false, p.forbidden_input_pattern)) k(is_required, pattern)
  cross join lateral (
    select case when root.is_root then r.payload @> k.pattern
                else not exists (
                  select from jsonb_each(k.pattern) m
                  where not exists (
                    select from pgflow.deps d
                    cross join lateral (
                      select s.output from pgflow.step_states s
                      where s.run_id = u.run_id and s.step_slug = d.from_step_slug and s.status = 'completed'
                      offset 0) s
                    where d.flow_slug = u.flow_slug and d.flow_version = u.flow_version
                      and d.to_step_slug = u.step_slug and d.from_step_slug = m.key
                      and jsonb_typeof(s.output) = jsonb_typeof(m.value) and s.output @> m.value))
           end as is_contained) c
  where k.pattern is not null) contained
order by u.ordinal
