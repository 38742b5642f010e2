-- A flow with all its versions.
-- The row of the flow is locked by the caller, and so is the table of runs.
with deps as (
  delete from pgflow.deps where flow_slug = $1
), steps as (
  delete from pgflow.steps where flow_slug = $1
), versions as (
  delete from pgflow.flow_versions where flow_slug = $1
), pause as (
  delete from pgflow.paused_flows where flow_slug = $1
)
delete from pgflow.flows where flow_slug = $1
