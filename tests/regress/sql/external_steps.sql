\pset null <null>
-- Started at once, without a lease; no claim hands it out, and it has one attempt.
call t.flow('external', '[{"step_slug": "approval", "executor": "external", "target": "approved"}, {"step_slug": "b", "deps_slugs": ["approval"]}]', '{"timeout": 1}');
select pgflow.run_flow('external') as run \gset
select * from t.steps(:'run');
select attempt, status, worker_id, started_at is not null as started from pgflow.step_tasks where run_id = :'run';
select * from t.claim('external');
-- The flow's timeout is not its own: it waits for ever.
select pg_sleep(1.1);
select * from t.claim('external');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'b', '1');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'approval', '{"by": "ann"}');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'approval', '{"by": "bob"}');
select * from t.claim('external');

-- complete_step settles task 0 of any other single step.
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'b');
select * from t.run(:'run');
select * from t.tasks(:'run');
select pgflow.run_flow('external') as run \gset
select accepted, task_status, step_status, run_status from pgflow.complete_step_task(:'run', 'approval', '0');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'b');
select * from t.refusals(:'run', 'b');

-- One attempt: a failure is when_exhausted.
select pgflow.run_flow('external') as run \gset
select accepted, task_status, step_status, run_status from pgflow.fail_step_task(:'run', 'approval', 'turned down');
select * from t.run(:'run');
call t.flow('external_skip', '[{"step_slug": "approval", "executor": "external", "when_exhausted": "skip", "max_attempts": 9}, {"step_slug": "b", "deps_slugs": ["approval"]}]');
select pgflow.run_flow('external_skip') as run \gset
select accepted, task_status, step_status, run_status from pgflow.fail_step_task(:'run', 'approval', 'turned down');
select * from t.claim('external_skip');

-- Its own timeout is one: the next claim in its queue finds it.
call t.flow('external_timeout', '[{"step_slug": "approval", "executor": "external", "timeout": 1, "when_exhausted": "skip"}, {"step_slug": "b", "deps_slugs": ["approval"], "queue": "external_timeout_b"}]');
select pgflow.run_flow('external_timeout') as run \gset
select * from t.claim('external_timeout');
select pg_sleep(1.1);
select * from t.claim('external_timeout');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select * from t.claim('external_timeout_b');

-- A map of them is settled task by task.
call t.flow('external_map', '[{"step_slug": "m", "step_type": "map", "executor": "external"}]');
select pgflow.run_flow('external_map', '["x", "y"]') as run \gset
call t.fails($$select pgflow.complete_step($1, 'm', '1')$$, :'run');
select accepted, task_status, step_status, run_status from pgflow.complete_step_task(:'run', 'm', '1', 1);
select accepted, task_status, step_status, run_status from pgflow.complete_step_task(:'run', 'm', '0', 0);
select * from t.run(:'run');

call t.fails($$select pgflow.complete_step(null, 'm')$$);
call t.fails($$select pgflow.complete_step($1, null)$$, :'run');
call t.fails($$select pgflow.complete_step($1, 'nothing')$$, :'run');
call t.fails($$select pgflow.complete_step('00000000-0000-7000-8000-000000000000', 'm')$$);
select * from pgflow.check_integrity();
