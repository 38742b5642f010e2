-- The first payload that starts a run ($3) and is null or, when they must be arrays ($2), is none; with its type.
-- Locks nothing.
select u.ordinal, jsonb_typeof(u.payload)
from unnest($1::jsonb[], $3::boolean[]) with ordinality u(payload, is_new, ordinal)
where u.is_new and (u.payload is null or ($2 and jsonb_typeof(u.payload) <> 'array'))
order by u.ordinal
limit 1
