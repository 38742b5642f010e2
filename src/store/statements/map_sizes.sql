-- How many elements each map has, in the order given: 0 when its dep was skipped, null when the source is no array.
-- Locks nothing.
select case when source.elements is null then 0
            when jsonb_typeof(source.elements) = 'array' then jsonb_array_length(source.elements)
       end
from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, map_over, ordinal)
cross join lateral (
  select case when u.map_over is null
              then (select r.payload from pgflow.runs r where r.run_id = u.run_id)
              else (select s.output from pgflow.step_states s
                    where s.run_id = u.run_id and s.step_slug = u.map_over)
         end as elements) source
order by u.ordinal
