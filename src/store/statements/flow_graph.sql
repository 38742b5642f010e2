-- The static shape of a version, the latest when $2 is null; no row when there is none.
-- Locks nothing.
select jsonb_build_object(
  'flow_slug', v.flow_slug,
  'version', v.version,
  'latest_version', f.version,
  'owner', f.owner,
  'description', f.description,
  'max_attempts', v.max_attempts,
  'base_delay', v.base_delay,
  'timeout', v.timeout,
  'max_delay', v.max_delay,
  'run_timeout', v.run_timeout,
  'output_step_slug', v.output_step_slug,
  'executor', v.executor,
  'target', v.target,
  'frozen_at', v.frozen_at,
  'created_at', v.created_at,
  'steps', coalesce((
    select jsonb_agg(jsonb_build_object(
             'step_slug', s.step_slug,
             'step_index', s.step_index,
             'deps_slugs', (select coalesce(jsonb_agg(d.from_step_slug order by d.from_step_slug), '[]')
                            from pgflow.deps d
                            where d.flow_slug = s.flow_slug and d.flow_version = s.flow_version
                              and d.to_step_slug = s.step_slug),
             'step_type', s.step_type,
             'map_over', s.map_over,
             'executor', s.executor,
             'target', s.target,
             'queue', s.queue,
             'start_mode', s.start_mode,
             'max_attempts', s.max_attempts,
             'base_delay', s.base_delay,
             'timeout', s.timeout,
             'start_delay', s.start_delay,
             'required_input_pattern', s.required_input_pattern,
             'forbidden_input_pattern', s.forbidden_input_pattern,
             'when_unmet', s.when_unmet,
             'when_exhausted', s.when_exhausted) order by s.step_index)
    from pgflow.steps s
    where s.flow_slug = v.flow_slug and s.flow_version = v.version), '[]'),
  'deps', coalesce((
    select jsonb_agg(jsonb_build_object('from_step_slug', d.from_step_slug, 'to_step_slug', d.to_step_slug)
                     order by d.to_step_slug, d.from_step_slug)
    from pgflow.deps d
    where d.flow_slug = v.flow_slug and d.flow_version = v.version), '[]'))
from pgflow.flows f
join pgflow.flow_versions v on v.flow_slug = f.flow_slug and v.version = coalesce($2, f.version)
where f.flow_slug = $1
