-- A run as a row.
-- Locks nothing.
select r from pgflow.runs r where r.run_id = $1
