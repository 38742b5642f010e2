-- How many grants there are of a flow and its steps.
-- Locks nothing.
select (select count(*) from pgflow.run_grants g where g.flow_slug = $1)::int
     + (select count(*) from pgflow.step_grants g where g.flow_slug = $1)::int
