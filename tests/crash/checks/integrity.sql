-- check_integrity() finds nothing
SELECT format('run %s: %s', run_id, problem) FROM pgflow.check_integrity();

-- Must notice:
DELETE FROM pgflow.step_states WHERE run_id = (SELECT run_id FROM pgflow.step_states LIMIT 1);
