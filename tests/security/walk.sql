-- One row for each thing that could be tried on each object of the extension, found in the catalogs, so that what comes
-- later is tried as well. NULL for every argument: the right to call is asked for before anything is done, though not if
-- the planner sees a constant NULL go into a STRICT function.
CREATE SCHEMA walk;
CREATE TABLE walk.attempts (object text, action text, statement text);

INSERT INTO walk.attempts
SELECT p.oid::regprocedure::text, v.action, v.statement
FROM pg_proc p
CROSS JOIN LATERAL (VALUES
  ('call', format('%s %s(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.oid::regproc,
                  (SELECT string_agg(format('(SELECT NULL::%s)', format_type(a.type, NULL)), ', ' ORDER BY a.place)
                   FROM unnest(p.proargtypes) WITH ORDINALITY a (type, place)))),
  ('alter', format('ALTER ROUTINE %s SECURITY DEFINER', p.oid::regprocedure)),
  ('drop', format('DROP ROUTINE %s', p.oid::regprocedure))) v (action, statement)
WHERE p.pronamespace IN ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace);

INSERT INTO walk.attempts
SELECT c.oid::regclass::text, v.action, v.statement
FROM pg_class c
CROSS JOIN LATERAL (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1) first
CROSS JOIN LATERAL (VALUES
  ('select', format('SELECT FROM %s', c.oid::regclass)),
  ('select for update', format('SELECT FROM %s FOR UPDATE', c.oid::regclass)),
  ('insert', format('INSERT INTO %s DEFAULT VALUES', c.oid::regclass)),
  ('update', format('UPDATE %s SET %I = NULL', c.oid::regclass, first.attname)),
  ('delete', format('DELETE FROM %s', c.oid::regclass)),
  ('merge', format('MERGE INTO %s USING (SELECT) s ON true WHEN MATCHED THEN DELETE', c.oid::regclass)),
  ('truncate', format('TRUNCATE %s', c.oid::regclass)),
  ('lock', format('LOCK TABLE %s', c.oid::regclass)),
  ('trigger', format('CREATE TRIGGER mine BEFORE INSERT ON %s EXECUTE FUNCTION trigger_of_mine()', c.oid::regclass)),
  ('rule', format('CREATE RULE mine AS ON DELETE TO %s DO INSTEAD NOTHING', c.oid::regclass)),
  ('policy', format('CREATE POLICY mine ON %s', c.oid::regclass)),
  ('like', format('CREATE TABLE mine (LIKE %s)', c.oid::regclass)),
  ('inherit', format('CREATE TABLE mine () INHERITS (%s)', c.oid::regclass)),
  ('index', format('CREATE INDEX ON %s (%I)', c.oid::regclass, first.attname)),
  ('statistics', format('CREATE STATISTICS mine ON %I, ctid FROM %s', first.attname, c.oid::regclass)),
  ('publish', format('CREATE PUBLICATION mine FOR TABLE %s', c.oid::regclass)),
  ('references', (SELECT format('CREATE TABLE mine (%s, FOREIGN KEY (%s) REFERENCES %s)',
                                string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.place),
                                string_agg(quote_ident(a.attname), ', ' ORDER BY k.place), c.oid::regclass)
                  FROM pg_constraint p
                  CROSS JOIN LATERAL unnest(p.conkey) WITH ORDINALITY k (attnum, place)
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                  WHERE p.conrelid = c.oid AND p.contype = 'p')),
  ('alter', format('ALTER TABLE %s ADD mine int', c.oid::regclass)),
  ('own', format('ALTER TABLE %s OWNER TO CURRENT_USER', c.oid::regclass)),
  ('grant', format('GRANT ALL ON %s TO CURRENT_USER', c.oid::regclass)),
  ('comment', format('COMMENT ON COLUMN %s.%I IS NULL', c.oid::regclass, first.attname)),
  ('drop', format('DROP TABLE %s', c.oid::regclass))) v (action, statement)
WHERE c.relnamespace IN ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  AND (c.relkind IN ('r', 'p', 'f')
       OR c.relkind IN ('v', 'm') AND v.action ~ '^(select|trigger|rule|grant|comment)'
       OR c.relkind = 'v' AND pg_relation_is_updatable(c.oid, true) <> 0 AND v.action ~ '^(insert|update|delete)');

INSERT INTO walk.attempts
SELECT c.oid::regclass::text, v.action, v.statement
FROM pg_class c
CROSS JOIN LATERAL (VALUES
  ('nextval', format('SELECT nextval(%L)', c.oid::regclass)),
  ('setval', format('SELECT setval(%L, 1)', c.oid::regclass)),
  ('select', format('SELECT last_value FROM %s', c.oid::regclass)),
  ('alter', format('ALTER SEQUENCE %s RESTART', c.oid::regclass))) v (action, statement)
WHERE c.relnamespace IN ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace) AND c.relkind = 'S';

INSERT INTO walk.attempts
SELECT t.oid::regtype::text, v.action, v.statement
FROM pg_type t
CROSS JOIN LATERAL (VALUES
  ('use', format('CREATE TABLE mine (c %s)', t.oid::regtype)),
  ('alter', format('ALTER TYPE %s OWNER TO CURRENT_USER', t.oid::regtype)),
  ('drop', format('DROP TYPE %s', t.oid::regtype))) v (action, statement)
WHERE t.typnamespace IN ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  AND t.typtype IN ('c', 'd', 'e', 'r', 'b') AND t.typcategory <> 'A'
  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c');

INSERT INTO walk.attempts
SELECT 'schema ' || s.name, v.action, v.statement
FROM (VALUES ('pgflow'), ('pgflow_locks')) s (name)
CROSS JOIN LATERAL (VALUES
  ('create table', format('CREATE TABLE %s.mine ()', s.name)),
  ('create function', format('CREATE FUNCTION %s.mine() RETURNS int LANGUAGE sql RETURN 1', s.name)),
  ('rename', format('ALTER SCHEMA %s RENAME TO mine', s.name)),
  ('drop', format('DROP SCHEMA %s CASCADE', s.name))) v (action, statement);

INSERT INTO walk.attempts VALUES
  ('extension pgflow', 'update', 'ALTER EXTENSION pgflow UPDATE'),
  ('extension pgflow', 'add', 'ALTER EXTENSION pgflow ADD SCHEMA public'),
  ('extension pgflow', 'drop a member', 'ALTER EXTENSION pgflow DROP TABLE pgflow.runs'),
  ('extension pgflow', 'drop', 'DROP EXTENSION pgflow CASCADE');

DELETE FROM walk.attempts WHERE statement IS NULL;
GRANT USAGE ON SCHEMA walk TO PUBLIC;
GRANT SELECT ON walk.attempts TO PUBLIC;
