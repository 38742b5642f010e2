\pset null <null>
call t.flow('delayed', '[{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["a", "b"]}]');
-- Ahead: pending, its root tasks queued for then.
select pgflow.run_flow('delayed', start_at => clock_timestamp() + interval '1 hour') as later,
       pgflow.run_flow('delayed', start_at => clock_timestamp() + interval '1 second') as soon \gset
select status, started_at, start_at > created_at as ahead from pgflow.runs where run_id = :'later';
select step_slug, status from t.tasks(:'later');
select * from t.claim('delayed');
select * from t.refusals(:'later', 'a');

-- Due: the first claim makes it started.
select pg_sleep(1.1);
select step_slug from t.claim('delayed', 1);
select status, started_at > start_at as after from pgflow.runs where run_id = :'soon';
select step_slug from t.claim('delayed');
select * from t.complete(:'soon', 'a', '1');
select * from t.complete(:'soon', 'b', '2');
select t.work('delayed');
select * from t.run(:'soon');
select status from pgflow.runs where run_id = :'later';

-- Now and before: started at once.
select pgflow.run_flow('delayed', '"past"', start_at => '2000-01-01') as past, pgflow.run_flow('delayed', '"now"', start_at => clock_timestamp()) as now \gset
select status, started_at >= created_at as started from pgflow.runs where run_id in (:'past', :'now');
select step_slug, input from t.claim('delayed');

-- A pending run can be cancelled, and put back.
select status, error_message, finished_at is not null as finished from pgflow.cancel_run(:'later', 'changed our minds');
select * from t.steps(:'later');
select step_slug, status from t.tasks(:'later');
select count(*) from pgflow.live_tasks where run_id = :'later';
select status, error_message from pgflow.retry_run(:'later');
select step_slug, attempt from t.claim('delayed');

-- Without anything to do at the root, it is all the same.
call t.flow('delayed_map', '[{"step_slug": "m", "step_type": "map"}]');
call t.fails($$select pgflow.run_flow('delayed_map', '{}', start_at => clock_timestamp() + interval '1 hour')$$);
select count(*) from pgflow.runs where flow_slug = 'delayed_map';

-- An external root is started at once, as ever; its settlement starts the run, also before its time.
call t.flow('delayed_external', '[{"step_slug": "approval", "executor": "external"}, {"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["approval"]}]');
select pgflow.run_flow('delayed_external', start_at => clock_timestamp() + interval '1 hour') as run \gset
select step_slug, status from t.tasks(:'run');
select status from t.run(:'run');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'approval', 'true');
select status, started_at < start_at as before from pgflow.runs where run_id = :'run';
-- What it waited for is ready at once; the other root waits for its time.
select step_slug, input from t.claim('delayed_external');
select step_slug, status from t.tasks(:'run');
call t.due(:'run');
select step_slug from t.claim('delayed_external');
select * from t.complete(:'run', 'b', '1');
select * from t.complete(:'run', 'a', '2');
select * from t.run(:'run');
-- Its own timeout runs from the start of the run.
call t.flow('delayed_timeout', '[{"step_slug": "approval", "executor": "external", "timeout": 60}]');
select pgflow.run_flow('delayed_timeout', start_at => clock_timestamp() + interval '1 hour') as run \gset
select lease_expires_at - start_at as after_start from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run';
select * from t.claim('delayed_timeout');
update pgflow.runs set start_at = created_at - interval '1 second' where run_id = :'run';
call t.expire(:'run');
select * from t.claim('delayed_timeout');
select status, error_message, started_at is not null as started from pgflow.runs where run_id = :'run';
select * from pgflow.check_integrity();
