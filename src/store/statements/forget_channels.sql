-- Ends listening on every channel.
-- Locks nothing.
unlisten *
