-- Forgets the prepared statements of the session.
-- Locks nothing.
deallocate all
