-- A claimed task as a row.
-- Locks nothing.
select row($1::uuid, $2::text, $3::text, $4::int, $5::int, $6::jsonb, $7::bigint, $8::timestamptz)::pgflow.claimed_task
