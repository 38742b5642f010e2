-- The types of values, in the order given.
-- Locks nothing.
select jsonb_typeof(u.value) from unnest($1::jsonb[]) with ordinality u(value, ordinal) order by u.ordinal
