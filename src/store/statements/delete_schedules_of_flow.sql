-- All schedules of a flow.
-- The row of the flow is deleted by the caller: nobody else makes one.
delete from pgflow.schedules s where s.flow_slug = $1
