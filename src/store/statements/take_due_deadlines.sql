-- Deadlines that have come, the oldest first.
-- Locks their rows; skips those that someone else holds.
select d.run_id from pgflow.run_deadlines d
where d.due_at <= $1
order by d.due_at
limit $2
for update skip locked
