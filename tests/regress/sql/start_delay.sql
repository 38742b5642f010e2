\pset null <null>
-- A step's tasks are queued when its deps are resolved, and ready start_delay seconds later.
call t.flow('start_delay', '[{"step_slug": "a", "start_delay": 100}, {"step_slug": "b", "deps_slugs": ["a"], "start_delay": 200}, {"step_slug": "c", "deps_slugs": ["a"], "start_delay": 0}]');
select pgflow.run_flow('start_delay') as run \gset
select status from t.run(:'run');
select step_slug, st.status, ready_at - queued_at as delay from pgflow.live_tasks join pgflow.step_tasks st using (run_id, step_slug, task_index)
where run_id = :'run';
select * from t.claim('start_delay');
call t.due(:'run');
select step_slug from t.claim('start_delay');
select * from t.complete(:'run', 'a', '1');
select step_slug from t.claim('start_delay');
call t.due(:'run');
select step_slug from t.claim('start_delay');
select * from t.complete(:'run', 'b', '2');
select * from t.complete(:'run', 'c', '3');
select * from t.run(:'run');
select * from pgflow.check_integrity();
