-- Takes a batch of results apart: number, type and first unknown member of each element, its output, then type and text
-- of each member. A batch that is no array or has more than $2 elements is one row without number that says so.
-- Locks nothing.
select null::bigint, fault.what, null::text, null::jsonb,
       null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
from (select case when jsonb_typeof($1) <> 'array' then format('is of type "%s" and not an array', jsonb_typeof($1))
                  when jsonb_array_length($1) > $2 then format('has %s elements, and %s are allowed', jsonb_array_length($1), $2)
             end as what) fault
where fault.what is not null
union all
select e.number, jsonb_typeof(e.value),
       (select k.key from jsonb_object_keys(case jsonb_typeof(e.value) when 'object' then e.value else '{}' end) k(key)
        where k.key not in ('run_id', 'step_slug', 'task_index', 'lease', 'output', 'error_message', 'retryable',
                            'retry_after', 'release')
        order by k.key limit 1),
       e.value -> 'output',
       jsonb_typeof(e.value -> 'run_id'), e.value ->> 'run_id',
       jsonb_typeof(e.value -> 'step_slug'), e.value ->> 'step_slug',
       jsonb_typeof(e.value -> 'task_index'), e.value ->> 'task_index',
       jsonb_typeof(e.value -> 'lease'), e.value ->> 'lease',
       jsonb_typeof(e.value -> 'error_message'), e.value ->> 'error_message',
       jsonb_typeof(e.value -> 'retryable'), e.value ->> 'retryable',
       jsonb_typeof(e.value -> 'retry_after'), e.value ->> 'retry_after',
       jsonb_typeof(e.value -> 'release'), e.value ->> 'release',
       jsonb_typeof(e.value -> 'output'), null
from jsonb_array_elements(case when jsonb_typeof($1) = 'array' and jsonb_array_length($1) <= $2 then $1 else '[]' end)
       with ordinality e(value, number)
order by 1
