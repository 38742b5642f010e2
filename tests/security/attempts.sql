-- What a role tries that has capability client and was granted flow chain. It knows the id of a run that is not its own.
SELECT current_user, session_user;

-- It may start runs, and is itself again afterwards, however the call ends.
BEGIN;
SELECT pgflow.run_flow('chain') IS NOT NULL AS started;
SELECT current_user;
SELECT count(*) FROM pgflow.runs;
ROLLBACK;
SELECT pgflow.run_flow('no_such_flow');
SELECT current_user;
SELECT count(*) FROM pgflow.runs;
DO $$
BEGIN
  BEGIN
    PERFORM pgflow.run_flow('no_such_flow');
  EXCEPTION WHEN others THEN
    ASSERT current_user = 'pgflow_client';
  END;
  DELETE FROM pgflow.runs;
END $$;
BEGIN;
SAVEPOINT before;
SELECT pgflow.run_flow('no_such_flow');
ROLLBACK TO before;
SELECT current_user;
DELETE FROM pgflow.runs;
ROLLBACK;
BEGIN;
DECLARE started CURSOR FOR SELECT pgflow.run_flow('chain') IS NOT NULL AS started FROM generate_series(1, 2);
FETCH 1 FROM started;
SELECT count(*) FROM pgflow.runs;
FETCH 1 FROM started;
ROLLBACK;
BEGIN;
PREPARE count_runs AS SELECT count(*) FROM pgflow.runs;
SELECT pgflow.run_flow('chain') IS NOT NULL AS started;
EXECUTE count_runs;
ROLLBACK;

-- Code of its own that is met on the way runs with its own rights.
CREATE FUNCTION is_mine(value jsonb) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN current_user = 'pgflow_client'; END $$;
CREATE DOMAIN looked_at AS jsonb CHECK (is_mine(VALUE));
CREATE TYPE bait AS (value jsonb);
CREATE FUNCTION cast_bait(value bait) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN DELETE FROM pgflow.runs; RETURN value.value; END $$;
CREATE CAST (bait AS jsonb) WITH FUNCTION cast_bait(bait) AS IMPLICIT;
BEGIN;
SELECT pgflow.run_flow('chain', '{}'::looked_at) IS NOT NULL AS started;
SELECT pgflow.run_flow('chain', ROW('{}')::bait);
ROLLBACK;

-- Other functions by detours.
CREATE FUNCTION definer(run uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM pgflow.cancel_run(run); END $$;
SELECT definer(:'victim');
CREATE FUNCTION inlined(run uuid) RETURNS pgflow.runs LANGUAGE sql AS $$ SELECT pgflow.cancel_run(run) $$;
SELECT inlined(:'victim');
DO $$ BEGIN PERFORM pgflow.claim_step_tasks('chain'); END $$;
DO $$ BEGIN EXECUTE 'SELECT pgflow.prune_runs(''0'')'; END $$;
CREATE FUNCTION set_role() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN SET LOCAL ROLE pg_write_server_files; END $$;
SELECT set_role();
CREATE VIEW calls AS SELECT (pgflow.cancel_run(run_id)).status FROM (VALUES (NULL::uuid)) v (run_id);
SELECT * FROM calls;
CREATE TABLE mine (run_id uuid);
CREATE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pgflow.cancel_run(NEW.run_id); RETURN NEW; END $$;
CREATE TRIGGER at_once BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION on_insert();
INSERT INTO mine VALUES (:'victim');
DROP TRIGGER at_once ON mine;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON mine DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION on_insert();
BEGIN;
INSERT INTO mine VALUES (:'victim');
SELECT pgflow.run_flow('chain') IS NOT NULL AS started;
COMMIT;
DROP TRIGGER at_commit ON mine;
CREATE TABLE by_default (n int, run_id uuid DEFAULT pgflow.fork_run(NULL, NULL));
INSERT INTO by_default VALUES (1);
CREATE TABLE by_check (run_id uuid CHECK (pgflow.cancel_run(run_id) IS NULL));
INSERT INTO by_check VALUES (:'victim');
CREATE AGGREGATE by_aggregate (uuid) (sfunc = pgflow_locks.run_key, stype = bigint);
CREATE POLICY by_policy ON mine USING (pgflow.cancel_run(run_id) IS NULL);
ALTER TABLE mine ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
INSERT INTO mine VALUES (:'victim');
ALTER TABLE mine DISABLE ROW LEVEL SECURITY;

-- Tables by detours.
CREATE VIEW peek AS SELECT * FROM pgflow.runs;
SELECT count(*) FROM peek;
CREATE VIEW peek_as_invoker WITH (security_invoker) AS SELECT * FROM pgflow.runs;
SELECT count(*) FROM peek_as_invoker;
CREATE RULE also AS ON INSERT TO mine DO ALSO DELETE FROM pgflow.runs;
INSERT INTO mine VALUES (NULL);
DROP RULE also ON mine;
CREATE TABLE copied AS TABLE pgflow.runs;
WITH gone AS (DELETE FROM pgflow.live_tasks RETURNING *) SELECT count(*) FROM gone;
SELECT query_to_xml('SELECT * FROM pgflow.runs', true, true, '');
BEGIN;
SELECT status FROM pgflow.run_flow('chain') AS started, pgflow.runs WHERE run_id = started;
ROLLBACK;
SELECT count(*) FROM pgflow_locks.held;
SELECT pgflow_locks.lock_run(:'victim');

-- Roles and hooks.
SET ROLE :"superuser";
SET SESSION AUTHORIZATION :"superuser";
SET ROLE pg_write_server_files;
ALTER ROLE CURRENT_USER SUPERUSER;
GRANT :"superuser" TO CURRENT_USER;
GRANT EXECUTE ON FUNCTION pgflow.run_flow TO PUBLIC;
GRANT USAGE ON SCHEMA pgflow TO PUBLIC;
SET session_replication_role = replica;
CREATE EVENT TRIGGER hook ON ddl_command_end EXECUTE FUNCTION trigger_of_mine();
CREATE FUNCTION symbol(uuid, text) RETURNS pgflow.runs LANGUAGE c AS '$libdir/pgflow', 'cancel_run_wrapper';
LOAD 'pgflow';
ALTER DEFAULT PRIVILEGES FOR ROLE :"superuser" GRANT ALL ON TABLES TO CURRENT_USER;
INSERT INTO pgflow.gateway_roles VALUES (current_user);
SET request.jwt.claims = '{"sub": "somebody else"}';
SET pgflow.anything = 'on';

-- What row-level security hides.
BEGIN;
SELECT pgflow.run_flow('chain') IS NOT NULL AS started;
SELECT count(*) FROM pgflow.runs;
CREATE FUNCTION spy(value anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'met %', value; RETURN true; END $$;
SELECT flow_slug, status FROM pgflow.runs WHERE spy(flow_slug) AND spy(status);
SELECT count(*) FROM pgflow.step_states WHERE spy(step_slug) OR 1 / (status = 'completed')::int = 1;
CREATE FUNCTION equals(text, text) RETURNS boolean LANGUAGE plpgsql LEAKPROOF AS $$ BEGIN RETURN true; END $$;
ROLLBACK;
SELECT pgflow.get_run(:'victim');
SELECT count(*) FROM pgflow.runs WHERE run_id = :'victim';
SELECT count(*) FROM pgflow.step_states WHERE run_id = :'victim';
SELECT count(*) FROM pgflow.step_tasks WHERE run_id = :'victim';
SELECT count(*) FROM pgflow.run_timeline WHERE run_id = :'victim';
SET row_security = off;
SELECT count(*) FROM pgflow.runs;
RESET row_security;
CREATE VIEW others WITH (security_barrier = false) AS SELECT run_id FROM pgflow.runs;
SELECT count(*) FROM others WHERE run_id = :'victim';
SELECT 1 FROM pgflow.runs WHERE run_id = :'victim' FOR SHARE;
SELECT reltuples >= -1 AS may_count FROM pg_class WHERE oid = 'pgflow.runs'::regclass;
SELECT count(*) FROM pg_stats WHERE schemaname = 'pgflow' AND tablename IN ('runs', 'step_states', 'step_tasks');
ALTER TABLE pgflow.runs DISABLE ROW LEVEL SECURITY;
DROP POLICY "runs are seen by who made them and by who owns the flow" ON pgflow.runs;
-- The functions that policies ask are asked as the caller, whatever it says it is.
SELECT pgflow.sees_everything(), pgflow.seen_creators(), pgflow.on_behalf_of(), pgflow.owned_flows(), pgflow.runnable_flows(), pgflow.served_queues();
CREATE FUNCTION sees_everything() RETURNS boolean LANGUAGE sql AS 'SELECT true';
SET search_path = pgflow_client, pg_catalog;
SELECT count(*) FROM pgflow.runs WHERE run_id = :'victim';
RESET search_path;
SET request.jwt.claims = '{"sub": "somebody else", "role": "pgflow_operator"}';
SET "request.jwt.claim.sub" = 'somebody else';
SET session.caller = 'pgflow_operator';
SELECT count(*) FROM pgflow.runs WHERE run_id = :'victim';
SELECT pgflow.get_run(:'victim');
RESET request.jwt.claims;
-- Grants are not its to give.
SELECT pgflow.grant_access('pgflow_client', 'operator');
SELECT pgflow.grant_run('slow', 'pgflow_client');
SELECT pgflow.grant_queue('chain', 'pgflow_client');
SELECT pgflow.grant_step('approval', 'approve', 'pgflow_client');
INSERT INTO pgflow.access_grants VALUES ('pgflow_client', 'operator', 'pgflow_client', now());
SELECT * FROM pgflow.access_grants;
-- External steps of others.
SELECT pgflow.complete_step(:'victim', 'approve');
SELECT pgflow.complete_step(:'victim', 'list');
BEGIN;
SELECT pgflow.send_event('approved');
DELETE FROM pgflow.events;
ROLLBACK;

-- For the owner of the engine to fall into.
CREATE MATERIALIZED VIEW trap AS SELECT (pgflow.cancel_run(run_id)).status FROM (VALUES (NULL::uuid)) v (run_id) WITH NO DATA;
