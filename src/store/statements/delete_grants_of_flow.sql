-- Takes the grants of a flow and its steps away, so that whoever makes a flow of that name later begins without any.
-- Deletes from run_grants and step_grants.
with runs as (
  delete from pgflow.run_grants where flow_slug = $1
)
delete from pgflow.step_grants where flow_slug = $1
