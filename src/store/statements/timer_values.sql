-- What a JSON pointer finds in the input of each live task of timers: the ordinal of the step, the index of the task, and
-- the JSON type and text of the value, null where there is none. The first token of the pointer is taken off: $3 is the
-- dep, or null for the payload, or for a map 'item' or 'index'; the others are $5, each pointer's from $6 on, as many as
-- $7. Of an array only what RFC 6901 calls an index is found.
-- Locks nothing: the caller holds the locks of the runs or has just made them.
with recursive u as materialized (
  select u.run_id, u.step_slug, u.source, u.is_map, ($5::text[])[u.first:u.first + u.tokens - 1] as path, u.ordinal
  from unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $6::int[], $7::int[]) with ordinality
         u(run_id, step_slug, source, is_map, first, tokens, ordinal)
), walk as (
  select u.ordinal, t.task_index, u.path, 1 as next,
         case
           when u.is_map and u.source = 'index' then to_jsonb(t.task_index)
           when u.is_map then t.item
           when u.source is null then (select r.payload from pgflow.runs r where r.run_id = u.run_id)
           else (select s.output from pgflow.step_states s
                 where s.run_id = u.run_id and s.step_slug = u.source and s.status = 'completed')
         end as value
  from u
  join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug
  union all
  select w.ordinal, w.task_index, w.path, w.next + 1,
         case
           when jsonb_typeof(w.value) = 'object' then w.value -> w.path[w.next]
           when jsonb_typeof(w.value) = 'array' and w.path[w.next] ~ '^(0|[1-9][0-9]{0,8})$'
           then w.value -> w.path[w.next]::int
         end
  from walk w
  where w.next <= cardinality(w.path)
)
select w.ordinal, w.task_index, jsonb_typeof(w.value), left(w.value #>> '{}', 100)
from walk w
where w.next = cardinality(w.path) + 1
order by w.ordinal, w.task_index
