-- The steps of a run that are completed or skipped.
-- Locks nothing.
select s.step_slug::text from pgflow.step_states s where s.run_id = $1 and s.status in ('completed', 'skipped')
