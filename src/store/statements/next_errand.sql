-- When the next errand is due.
-- Locks nothing.
select e.due_at from pgflow.errands e order by e.due_at limit 1
