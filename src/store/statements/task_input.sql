-- The input of a task, whatever its size.
-- Locks nothing.
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
from pgflow.live_tasks t
join pgflow.runs r on r.run_id = t.run_id
where t.run_id = $1 and t.step_slug = $2 and t.task_index = $3
