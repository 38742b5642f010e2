-- Holds a run against prune_runs.
-- Locks the row; the caller holds the lock of the run.
select from pgflow.runs r where r.run_id = $1 for no key update
