-- The headers of a request as pg_net takes them, and the parameters, which are none.
-- Locks nothing.
select jsonb_object($1::text[], $2::text[]), '{}'::jsonb
