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
select * from pgflow.check_integrity();
