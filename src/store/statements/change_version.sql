-- Opens a version for a change in place and sets its options; no row when a run has seen it.
-- Locks the row of the version: waits for its first run to commit, and lets no other one begin.
update pgflow.flow_versions
set definition_id = $3, max_attempts = $4, base_delay = $5, timeout = $6, max_delay = $7, output_step_slug = $8,
    executor = $9, target = $10, run_timeout = $11
where flow_slug = $1 and version = $2 and frozen_at is null
returning version
