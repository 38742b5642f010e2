\pset null <null>
-- An error while a claim ends the run of an expired attempt ends the statement and no more: the session goes on.
call t.flow('claim_error', '[{"step_slug": "a", "max_attempts": 1}]');
select pgflow.run_flow('claim_error') as run \gset
select step_slug from t.claim('claim_error');
call t.expire(:'run');
alter table pgflow.runs add constraint "no run of this test fails" check (flow_slug <> 'claim_error' or status <> 'failed');
\set VERBOSITY terse
select * from pgflow.claim_step_tasks('claim_error');
\set VERBOSITY default
select * from t.tasks(:'run');
alter table pgflow.runs drop constraint "no run of this test fails";
select * from t.claim('claim_error');
select * from t.run(:'run');
select * from pgflow.check_integrity();
