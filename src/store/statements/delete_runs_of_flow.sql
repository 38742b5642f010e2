-- All runs of a flow with everything that belongs to them.
-- The table of runs is locked by the caller: nobody else makes or moves a run.
with deadlines as (
  delete from pgflow.run_deadlines where run_id = any (array(select run_id from pgflow.runs where flow_slug = $1))
), live_tasks as (
  delete from pgflow.live_tasks where run_id = any (array(select run_id from pgflow.runs where flow_slug = $1))
), step_tasks as (
  delete from pgflow.step_tasks where run_id = any (array(select run_id from pgflow.runs where flow_slug = $1))
), step_states as (
  delete from pgflow.step_states where run_id = any (array(select run_id from pgflow.runs where flow_slug = $1))
), idempotency_keys as (
  delete from pgflow.idempotency_keys where run_id = any (array(select run_id from pgflow.runs where flow_slug = $1))
)
delete from pgflow.runs where flow_slug = $1
