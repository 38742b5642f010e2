-- The inputs of tasks as one array, in the order given, whatever their size.
-- Locks nothing.
select array(
  select case
           when t.item is not null then jsonb_build_object('item', t.item, 'index', t.task_index)
           else (select jsonb_object_agg(i.key, i.value)
                 from (select 'run' as key, r.payload as value
                       union all
                       select d.from_step_slug, s.output
                       from pgflow.deps d
                       cross join lateral (
                         select s.output from pgflow.step_states s
                         where s.run_id = t.run_id and s.step_slug = d.from_step_slug and s.status = 'completed'
                         offset 0) s
                       where d.flow_slug = t.flow_slug and d.flow_version = t.flow_version
                         and d.to_step_slug = t.step_slug) i)
         end
  from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality u(run_id, step_slug, task_index, ordinal)
  join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
  join pgflow.runs r on r.run_id = t.run_id
  order by u.ordinal)
