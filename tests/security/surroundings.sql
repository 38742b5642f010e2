-- What a hostile session sets up before it calls: its schema ahead of the system's, and temporary objects of the
-- engine's names.
SET search_path = hostile, pg_temp, pg_catalog, public;
CREATE TEMP TABLE runs (run_id pg_catalog.uuid);
CREATE TEMP TABLE live_tasks (run_id pg_catalog.uuid);
CREATE TEMP TABLE steps (step_slug pg_catalog.text);
CREATE TEMP TABLE pg_locks (locktype pg_catalog.text);
CREATE TEMP TABLE pg_database (datname pg_catalog.name);
CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (hostile.mark('jsonb in pg_temp'));
CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (hostile.mark('uuid in pg_temp'));
CREATE FUNCTION pg_temp.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('unnest in pg_temp'); END $$;
