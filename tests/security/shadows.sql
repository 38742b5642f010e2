-- A schema of a role's own, with everything in it that could be taken for something of the system or of the engine: each
-- function and operator of pg_catalog that can be written again, aggregates, types, collations, tables. Whatever is
-- called leaves a mark, which a rollback does not take back, and raises. Run as the owner, in schema `hostile`.
CREATE SEQUENCE hostile.marks;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
GRANT ALL ON hostile.marks TO PUBLIC;
CREATE FUNCTION hostile.mark(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.nextval('hostile.marks');
  RAISE EXCEPTION 'hostile code was called: % as %', what, current_user;
END $$;

DO $$
DECLARE
  shadow record;
BEGIN
  FOR shadow IN
    SELECT p.oid, p.proname, p.proretset, format_type(p.prorettype, NULL) AS result,
           (SELECT string_agg(format_type(a.type, NULL), ', ' ORDER BY a.place) FROM unnest(p.proargtypes) WITH ORDINALITY a (type, place)) AS arguments
    FROM pg_proc p JOIN pg_type r ON r.oid = p.prorettype
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
      AND (r.typtype <> 'p' OR r.typname LIKE 'any_%' OR r.typname = 'void')
      AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) a (type) JOIN pg_type t ON t.oid = a.type
                      WHERE t.typtype = 'p' AND t.typname NOT LIKE 'any_%')
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L', shadow.proname, shadow.arguments,
        CASE WHEN shadow.proretset THEN 'SETOF' END, shadow.result,
        format('BEGIN PERFORM hostile.mark(%L); END', shadow.proname));
    EXCEPTION WHEN invalid_function_definition OR feature_not_supported THEN
      NULL; -- a polymorphic result that no argument determines
    END;
  END LOOP;
  FOR shadow IN
    SELECT o.oprname, p.proname,
           CASE WHEN o.oprleft <> 0 THEN format('leftarg = %s, ', format_type(o.oprleft, NULL)) END AS left_argument,
           format_type(o.oprright, NULL) AS right_argument
    FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
    WHERE o.oprnamespace = 'pg_catalog'::regnamespace
      AND CASE WHEN p.pronamespace = 'pg_catalog'::regnamespace
               THEN to_regprocedure(format('hostile.%I(%s)', p.proname, oidvectortypes(p.proargtypes))) IS NOT NULL END
  LOOP
    EXECUTE format('CREATE OPERATOR hostile.%s (%srightarg = %s, procedure = hostile.%I)',
      shadow.oprname, shadow.left_argument, shadow.right_argument, shadow.proname);
  END LOOP;
END $$;

-- What takes "any", which PL/pgSQL cannot, and aggregates.
CREATE FUNCTION hostile.jsonb_build_object(text, anyelement, text, anynonarray) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('jsonb_build_object'); END $$;
CREATE FUNCTION hostile.format(text, anyelement) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('format'); END $$;
CREATE FUNCTION hostile.marks_any(state jsonb, anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('an aggregate'); END $$;
CREATE FUNCTION hostile.marks_pair(state jsonb, text, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('an aggregate'); END $$;
CREATE FUNCTION hostile.marks_rows(state bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('count'); END $$;
CREATE AGGREGATE hostile.count(*) (sfunc = hostile.marks_rows, stype = bigint, initcond = '0');
CREATE AGGREGATE hostile.jsonb_agg(anyelement) (sfunc = hostile.marks_any, stype = jsonb, initcond = '[]');
CREATE AGGREGATE hostile.array_agg(anyelement) (sfunc = hostile.marks_any, stype = jsonb, initcond = '[]');
CREATE AGGREGATE hostile.sum(anyelement) (sfunc = hostile.marks_any, stype = jsonb, initcond = '[]');
CREATE AGGREGATE hostile.max(anyelement) (sfunc = hostile.marks_any, stype = jsonb, initcond = '[]');
CREATE AGGREGATE hostile.min(anyelement) (sfunc = hostile.marks_any, stype = jsonb, initcond = '[]');
CREATE AGGREGATE hostile.bool_and(anyelement) (sfunc = hostile.marks_any, stype = jsonb, initcond = '[]');
CREATE AGGREGATE hostile.jsonb_object_agg(text, jsonb) (sfunc = hostile.marks_pair, stype = jsonb, initcond = '{}');

-- Functions of the engine, of its own name and of its schema's.
CREATE FUNCTION hostile.run_key(uuid) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.mark('run_key'); END $$;

-- Tables, whose triggers leave the mark, and views of the names of catalogs, which do so when they are read.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['flows', 'flow_versions', 'steps', 'deps', 'runs', 'step_states', 'step_tasks', 'live_tasks', 'idempotency_keys', 'gateway_roles'] LOOP
    EXECUTE format('CREATE VIEW hostile.%I AS SELECT hostile.mark(%L)', name, name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['pg_class', 'pg_locks', 'pg_roles', 'pg_authid', 'pg_namespace', 'pg_database', 'pg_proc', 'pg_type'] LOOP
    EXECUTE format('CREATE VIEW hostile.%I AS SELECT hostile.mark(%L)', name, name);
  END LOOP;
END $$;

-- Types last: from here on nothing in this schema is what it seems.
CREATE COLLATION hostile."C" FROM "POSIX";
CREATE DOMAIN hostile.uuid AS pg_catalog.uuid CHECK (hostile.mark('uuid'));
CREATE DOMAIN hostile.jsonb AS pg_catalog.jsonb CHECK (hostile.mark('jsonb'));
CREATE DOMAIN hostile.timestamptz AS pg_catalog.timestamptz CHECK (hostile.mark('timestamptz'));
CREATE DOMAIN hostile.name AS pg_catalog.name CHECK (hostile.mark('name'));
CREATE DOMAIN hostile.regclass AS pg_catalog.regclass CHECK (hostile.mark('regclass'));
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (hostile.mark('text'));
