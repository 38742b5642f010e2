-- Removes a schedule.
-- Deletes the row, which the caller has locked.
delete from pgflow.schedules s where s.name = $1
