-- Relationships for PostgREST, which embeds rows of one table in those of another by a function of the row:
-- /runs?select=*,step_states(*,step_tasks(*)). Foreign keys would tell it the same, and cost each insert a look-up.

CREATE FUNCTION pgflow.step_states(run pgflow.runs) RETURNS SETOF pgflow.step_states
LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT s.* FROM pgflow.step_states s WHERE s.run_id = (run).run_id
$$;
COMMENT ON FUNCTION pgflow.step_states IS 'The states of the steps of a run, for PostgREST: /runs?select=*,step_states(*). Shows what the caller may see in the table, and changes nothing.';

CREATE FUNCTION pgflow.step_tasks(step pgflow.step_states) RETURNS SETOF pgflow.step_tasks
LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT t.* FROM pgflow.step_tasks t WHERE t.run_id = (step).run_id AND t.step_slug = (step).step_slug
$$;
COMMENT ON FUNCTION pgflow.step_tasks IS 'The attempts at the tasks of a step of a run, for PostgREST: /step_states?select=*,step_tasks(*). Shows what the caller may see in the table, and changes nothing.';
