-- Says that somebody listens; the key is pgflow_locks.events_key(), which never changes.
-- Locks: the advisory lock of those who listen, shared, as long as the connection lasts.
select from pg_advisory_lock_shared(-5808590958014384161)
