-- The invariants of the engine that are violated.
-- Locks nothing.
select r.run_id, 'stub' from pgflow.runs r where false
