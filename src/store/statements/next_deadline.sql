-- When the next run falls due.
-- Locks nothing.
select d.due_at from pgflow.run_deadlines d order by d.due_at limit 1
