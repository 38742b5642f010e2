-- The first payload that is null or, when they must be arrays ($2), is none; with its type.
-- Locks nothing.
select u.ordinal, jsonb_typeof(u.payload)
from unnest($1::jsonb[]) with ordinality u(payload, ordinal)
where u.payload is null or ($2 and jsonb_typeof(u.payload) <> 'array')
order by u.ordinal
limit 1
