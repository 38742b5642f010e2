-- JSON text as a value.
-- Locks nothing.
select $1::text::jsonb
