-- A jsonb value as text, numbers as they were given.
-- Locks nothing.
select $1::text
