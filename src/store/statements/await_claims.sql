-- Notes which of the transactions that may have claimed before the queue had limits are still under way: at first all that
-- hold table runs as calls do, then those that are left of them. Returns whether none is.
-- Updates the row of the queue, which the caller holds.
update pgflow.queues q
set awaits = (select array_agg(l.virtualtransaction)
              from pg_catalog.pg_locks l
              where l.locktype = 'relation' and l.relation = 'pgflow.runs'::regclass and l.mode = 'RowExclusiveLock'
                and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
                and l.granted and l.pid is distinct from pg_backend_pid()
                and (q.awaits = '{}' or l.virtualtransaction = any(q.awaits)))
where q.queue = $1
returning q.awaits is null
