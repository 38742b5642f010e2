-- A run as a page shows it.
-- Locks nothing.
select pgflow.get_run($1)::text
