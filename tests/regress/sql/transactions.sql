\pset null <null>
call t.flow('tx', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
-- A rollback leaves nothing.
begin;
select pgflow.run_flow('tx') is not null;
rollback;
select (select count(*) from pgflow.runs where flow_slug = 'tx') as runs, (select count(*) from pgflow.step_states where flow_slug = 'tx') as states,
       (select count(*) from pgflow.step_tasks where flow_slug = 'tx') as tasks;

-- What is ready is claimable at once, in the same transaction: a run from its start to its end.
begin;
call t.flow('tx_whole', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('tx_whole') as run \gset
select step_slug from t.claim('tx_whole');
select * from t.complete(:'run', 'a', '1');
select step_slug from t.claim('tx_whole');
select * from t.complete(:'run', 'b', '2');
commit;
select * from t.run(:'run');

-- A claim and a settlement that are rolled back never were.
select pgflow.run_flow('tx') as run \gset
begin;
select step_slug from t.claim('tx');
select * from t.complete(:'run', 'a', '1');
rollback;
select * from t.tasks(:'run');
select step_slug, attempt from t.claim('tx');

-- Savepoints.
begin;
select * from t.complete(:'run', 'a', '"first"');
savepoint here;
select step_slug from t.claim('tx');
select * from t.complete(:'run', 'b', '"lost"');
select status from t.run(:'run');
rollback to here;
select * from t.tasks(:'run');
select step_slug, input from t.claim('tx');
savepoint there;
select (pgflow.cancel_run(:'run')).status;
rollback to there;
select * from t.complete(:'run', 'b', '"kept"');
commit;
select * from t.run(:'run');

-- An error in the middle changes nothing of what came before, and the session goes on.
select pgflow.run_flow('tx') as run \gset
begin;
select step_slug from t.claim('tx');
savepoint here;
select pgflow.start_step(:'run', 'b');
rollback to here;
select * from t.complete(:'run', 'a', '1');
commit;
select step_slug, status from t.tasks(:'run');

-- At the stricter levels.
begin isolation level repeatable read;
select step_slug from t.claim('tx');
select * from t.complete(:'run', 'b', '2');
commit;
begin isolation level serializable;
select pgflow.run_flow('tx') as run \gset
select step_slug from t.claim('tx');
select * from t.complete(:'run', 'a', '1');
commit;
begin isolation level serializable;
select step_slug from t.claim('tx');
select * from t.complete(:'run', 'b', '2');
commit;
select * from t.run(:'run');

-- Read only: what writes is 25006, what reads works.
begin read only;
select call, t.sqlstate('select pgflow.' || call, :'run')
from (values ('run_flow(''tx'')'), ('create_flow(''tx_new'')'), ('claim_step_tasks(''tx'')'), ('complete_step_task($1, ''a'')')) v (call);
select pgflow.get_run(:'run') #>> '{run,status}' as status;
select pgflow.flow_graph('tx') ->> 'version' as version;
select * from pgflow.check_integrity();
commit;
