-- Everything that belongs to a database, but for what belongs to the system.
SELECT i.type, i.identity
FROM (SELECT 'pg_class'::regclass AS classid, oid FROM pg_class
      UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
      UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type
      UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace
      UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
      UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger
      UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
      UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy
      UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
      UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
      UNION ALL SELECT 'pg_default_acl'::regclass, oid FROM pg_default_acl
      UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
      UNION ALL SELECT 'pg_authid'::regclass, oid FROM pg_roles) o
CROSS JOIN LATERAL pg_identify_object(o.classid, o.oid, 0) i
-- A session's schema for temporary objects outlives the session.
WHERE o.oid >= 16384 AND i.identity !~ '^pg_(toast_)?temp_'
ORDER BY 1, 2;
SELECT 'advisory lock', classid, objid FROM pg_locks WHERE locktype = 'advisory';
