-- A run with its steps, in order of definition, and the first thousand of its children, in order of their tasks, as one
-- object: what a page shows.
-- Locks nothing.
select jsonb_build_object(
  'run', to_jsonb(r) - array['definition_id', 'remaining_leaves', 'large', 'parent_lease', 'depth'],
  'steps', coalesce((
    select jsonb_agg(
      to_jsonb(s) - array['run_id', 'flow_slug', 'is_counted'] || jsonb_build_object(
        'step_index', p.step_index,
        'step_type', p.step_type,
        'map_over', p.map_over,
        'executor', p.executor,
        'queue', p.queue,
        'start_mode', p.start_mode,
        'deps_slugs', array(select d.from_step_slug from pgflow.deps d
                            where d.flow_slug = r.flow_slug and d.flow_version = r.flow_version
                              and d.to_step_slug = p.step_slug
                            order by d.from_step_slug),
        -- The steps that a fork kept have no attempts of its own.
        'completed_tasks', case when s.status = 'completed' then s.initial_tasks else a.completed end,
        'attempts', a.attempts,
        'failed_attempts', a.failed)
      order by p.step_index)
    from pgflow.steps p
    -- Behind OFFSET 0 a state is looked up by its whole key, whatever the statistics say.
    cross join lateral (
      select s.* from pgflow.step_states s
      where s.run_id = r.run_id and s.step_slug = p.step_slug
      offset 0) s
    cross join lateral (
      select count(*) as attempts,
             count(*) filter (where t.status = 'completed') as completed,
             count(*) filter (where t.status in ('failed', 'expired')) as failed
      from pgflow.step_tasks t
      where t.run_id = r.run_id and t.step_slug = p.step_slug) a
    where p.flow_slug = r.flow_slug and p.flow_version = r.flow_version), '[]'),
  'children', coalesce((
    select jsonb_agg(to_jsonb(c) - 'step_index' order by c.step_index, c.parent_task_index, c.run_id)
    from (
      select c.*
      from pgflow.steps p
      cross join lateral (
        select p.step_index, c.run_id, c.flow_slug, c.status, c.parent_step_slug, c.parent_task_index
        from pgflow.runs c
        where c.parent_run_id = r.run_id and c.parent_step_slug = p.step_slug
        order by c.parent_task_index, c.run_id
        limit 1000) c
      where p.flow_slug = r.flow_slug and p.flow_version = r.flow_version and p.executor = 'flow'
      order by c.step_index, c.parent_task_index, c.run_id
      limit 1000) c), '[]'),
  'children_count', (select count(*) from pgflow.runs c where c.parent_run_id = r.run_id and c.parent_step_slug is not null))
from pgflow.runs r
where r.run_id = $1
