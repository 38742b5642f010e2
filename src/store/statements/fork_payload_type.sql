-- The type of the payload that a fork gets: its own, or its origin's.
-- Locks nothing.
select jsonb_typeof(coalesce($2, r.payload)) from pgflow.runs r where r.run_id = $1
