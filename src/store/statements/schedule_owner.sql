-- The owner of a schedule.
-- Locks the row until the transaction ends.
select s.owner::text from pgflow.schedules s where s.name = $1 for update
