-- Gives back the advisory locks of the session.
-- Unlocks only.
select pg_catalog.pg_advisory_unlock_all()
