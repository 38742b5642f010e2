-- A value as often as it is wanted.
-- Locks nothing.
select array_fill($1::jsonb, array[$2::int])
