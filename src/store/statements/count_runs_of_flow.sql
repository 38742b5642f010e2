-- How many runs a flow has, counted no further than $2.
-- The table of runs is locked by the caller.
select count(*)::int from (select from pgflow.runs where flow_slug = $1 limit $2) r
