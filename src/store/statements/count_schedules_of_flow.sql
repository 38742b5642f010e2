-- How many schedules a flow has.
-- Locks nothing.
select count(*)::int from pgflow.schedules s where s.flow_slug = $1
