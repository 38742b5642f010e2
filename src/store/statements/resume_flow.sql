-- Ends the pause of a flow. Returns the queues that its tasks are in, if it was paused.
-- Deletes a row; the caller holds that of the flow.
with resumed as (
  delete from pgflow.paused_flows f where f.flow_slug = $1 returning f.flow_slug
)
select distinct s.queue::text from resumed r join pgflow.steps s on s.flow_slug = r.flow_slug
