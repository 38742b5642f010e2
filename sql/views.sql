-- Who holds or awaits the lock of which run.

CREATE VIEW pgflow_locks.held WITH (security_invoker = true) AS
SELECT r.run_id, l.key, l.pid, l.mode, l.granted, l.waitstart AS waiting_since
FROM (
  SELECT (k.classid::bigint << 32) | k.objid::bigint AS key, k.pid, k.mode, k.granted, k.waitstart
  FROM pg_catalog.pg_locks k
  WHERE k.locktype = 'advisory'
    AND k.objsubid = 1
    AND k.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
) l
JOIN pgflow.runs r ON pgflow_locks.run_key(r.run_id) = l.key;
COMMENT ON VIEW pgflow_locks.held IS 'The advisory locks of runs that are held or awaited in this database at this moment. Reads all of pgflow.runs while there is any advisory lock: for looking, not for polling.';
COMMENT ON COLUMN pgflow_locks.held.run_id IS 'The run that the lock is for.';
COMMENT ON COLUMN pgflow_locks.held.key IS 'The key of the lock, run_key(run_id).';
COMMENT ON COLUMN pgflow_locks.held.pid IS 'The process id of the backend that holds or awaits the lock, see pg_stat_activity; null for a prepared transaction.';
COMMENT ON COLUMN pgflow_locks.held.mode IS 'ExclusiveLock for whoever moves the run; ShareLock for calls that only complete tasks of a large map, side by side.';
COMMENT ON COLUMN pgflow_locks.held.granted IS 'Whether the lock is held; false for who awaits it.';
COMMENT ON COLUMN pgflow_locks.held.waiting_since IS 'When the wait began; null when the lock is held, and for an instant after the wait began.';
