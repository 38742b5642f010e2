-- The attempts at tasks of a step that this transaction sees unfinished. Those that have ended since it took its
-- snapshot make PostgreSQL refuse the transaction (40001).
-- Locks the attempts.
select from pgflow.step_tasks t
where t.run_id = $1 and t.step_slug = $2 and t.status in ('queued', 'started')
for update
