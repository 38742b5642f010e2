-- For each step, in the order given: whether its required pattern is contained in its condition input, and whether its
-- forbidden one is. The condition input is the payload at a root, else an object of the outputs of completed deps; a
-- pattern is contained in that object when each of its members is contained in the output it names.
-- Locks nothing.
select case when p.required_input_pattern is null then true
            when root.is_root then r.payload @> p.required_input_pattern
            else not exists (
              select from jsonb_each(p.required_input_pattern) m
              where not exists (
                select from pgflow.deps d
                cross join lateral (
                  select s.output from pgflow.step_states s
                  where s.run_id = u.run_id and s.step_slug = d.from_step_slug and s.status = 'completed'
                  offset 0) s
                where d.flow_slug = u.flow_slug and d.flow_version = u.flow_version and d.to_step_slug = u.step_slug
                  and d.from_step_slug = m.key
                  and jsonb_typeof(s.output) = jsonb_typeof(m.value) and s.output @> m.value))
       end,
       case when p.forbidden_input_pattern is null then false
            when root.is_root then r.payload @> p.forbidden_input_pattern
            else not exists (
              select from jsonb_each(p.forbidden_input_pattern) m
              where not exists (
                select from pgflow.deps d
                cross join lateral (
                  select s.output from pgflow.step_states s
                  where s.run_id = u.run_id and s.step_slug = d.from_step_slug and s.status = 'completed'
                  offset 0) s
                where d.flow_slug = u.flow_slug and d.flow_version = u.flow_version and d.to_step_slug = u.step_slug
                  and d.from_step_slug = m.key
                  and jsonb_typeof(s.output) = jsonb_typeof(m.value) and s.output @> m.value))
       end
from unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) with ordinality
       u(run_id, step_slug, flow_slug, flow_version, ordinal)
join pgflow.runs r on r.run_id = u.run_id
join pgflow.steps p
  on p.flow_slug = u.flow_slug and p.flow_version = u.flow_version and p.step_slug = u.step_slug
cross join lateral (
  select not exists (select from pgflow.deps d
                     where d.flow_slug = u.flow_slug and d.flow_version = u.flow_version
                       and d.to_step_slug = u.step_slug) as is_root) root
order by u.ordinal
