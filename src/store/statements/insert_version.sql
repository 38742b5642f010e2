-- A new version, without its steps.
-- Locks nothing that others wait for.
insert into pgflow.flow_versions (flow_slug, version, definition_id, max_attempts, base_delay, timeout, max_delay,
                                  output_step_slug, executor, target, created_at, run_timeout)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
