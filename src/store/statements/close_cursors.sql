-- Closes the cursors that are left in the session.
-- Locks nothing.
close all
