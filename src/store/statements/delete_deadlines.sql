-- Deadlines that are dealt with.
-- Deletes the rows, which the caller has locked.
delete from pgflow.run_deadlines d using unnest($1::uuid[]) u(run_id) where d.run_id = u.run_id
