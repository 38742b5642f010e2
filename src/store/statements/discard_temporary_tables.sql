-- Drops the temporary tables of the session.
-- Locks the tables.
discard temp
