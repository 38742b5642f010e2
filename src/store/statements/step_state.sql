-- A step state as a row, whether it is pending, and how many deps it waits for.
-- Locks the row, so that a stale snapshot is noticed; the caller holds the lock of the run.
select s, s.status = 'pending', s.remaining_deps
from pgflow.step_states s
where s.run_id = $1 and s.step_slug = $2
for no key update
