-- A run with its steps, as one object.
-- Locks nothing.
select jsonb_build_object(
  'run', to_jsonb(r) - 'definition_id' - 'remaining_leaves' - 'large',
  'steps', (
    select coalesce(jsonb_agg(to_jsonb(s) || jsonb_build_object(
             'step_index', d.step_index, 'step_type', d.step_type, 'executor', d.executor, 'start_mode', d.start_mode,
             'deps_slugs', (select coalesce(jsonb_agg(e.from_step_slug order by e.from_step_slug), '[]') from pgflow.deps e
                            where e.flow_slug = r.flow_slug and e.flow_version = r.flow_version
                              and e.to_step_slug = s.step_slug),
             'attempts', (select count(*) from pgflow.step_tasks t
                          where t.run_id = r.run_id and t.step_slug = s.step_slug))
             order by d.step_index), '[]')
    from pgflow.step_states s
    join pgflow.steps d
      on d.flow_slug = r.flow_slug and d.flow_version = r.flow_version and d.step_slug = s.step_slug
    where s.run_id = r.run_id))
from pgflow.runs r
where r.run_id = $1
