-- Turns pending runs to started, and returns those that were.
-- Updates the runs, skipping those that someone else holds.
with free as materialized (
  select r.run_id from pgflow.runs r
  where r.run_id = any ($1::uuid[]) and r.status = 'pending'
  for update skip locked
)
update pgflow.runs r set status = 'started', started_at = $2
from free f
where r.run_id = f.run_id
returning r.run_id
