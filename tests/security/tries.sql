-- Tries everything in walk.attempts as the role of the session, undoes it, and prints what was not refused with 42501.
-- GRANT of what one may not pass on grants nothing and is a warning.
SET client_min_messages = error;
CREATE FUNCTION trigger_of_mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RAISE EXCEPTION 'undo' USING ERRCODE = 'OK000';
EXCEPTION WHEN others THEN
  RETURN CASE SQLSTATE WHEN 'OK000' THEN 'done' ELSE SQLSTATE END;
END $$;
SELECT format('%s: %s: %s: %s', current_user, object, action, outcome)
FROM (SELECT *, outcome(statement) FROM walk.attempts
      -- Nothing takes back the processes that it starts.
      WHERE NOT (current_user = 'pgflow_operator' AND statement LIKE 'SELECT pgflow.start_background(%')) a
WHERE outcome <> '42501'
ORDER BY object COLLATE "C", action;

-- COPY to and from a client cannot be tried from within. What it shows is of no interest here.
\o /dev/null
SELECT format('COPY (SELECT FROM %s) TO STDOUT', object), format('COPY %s TO STDOUT', object), format('COPY %s FROM STDIN', object)
FROM walk.attempts WHERE action = 'truncate' ORDER BY object COLLATE "C"
\gexec
