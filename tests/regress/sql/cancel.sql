\pset null <null>
call t.flow('cancel', '[{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["a"]}, {"step_slug": "m", "step_type": "map"},
                        {"step_slug": "skipped", "required_input_pattern": {"x": 1}}, {"step_slug": "ext", "executor": "external"}]');
select pgflow.run_flow('cancel', '[1, 2]') as run \gset
select step_slug, task_index from t.claim('cancel', 3) order by 1;
select * from t.complete(:'run', 'a', '1');
-- Unfinished steps and attempts become cancelled; what is finished stays.
select status, output, error_message, finished_at is not null as finished from pgflow.cancel_run(:'run', 'changed our minds');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select step_slug, status, remaining_tasks from t.counts(:'run') where status = 'cancelled';
select count(*) from pgflow.live_tasks where run_id = :'run';
select * from t.claim('cancel');

-- Workers learn it from their next receipt.
select * from t.complete(:'run', 'b', '1');
select accepted, task_status, step_status, run_status from pgflow.extend_step_task(:'run', 'm', 0, t.lease(:'run', 'm'));

-- An ended run is returned unchanged.
select t.snapshot(:'run') as before \gset
select status, error_message from pgflow.cancel_run(:'run', 'another reason');
select t.snapshot(:'run') = :'before' as untouched;
call t.flow('cancel_done', '[{"step_slug": "a"}]', '{"max_attempts": 1}');
select pgflow.run_flow('cancel_done') as done, pgflow.run_flow('cancel_done') as failed \gset
select count(*) from t.claim('cancel_done');
select * from t.complete(:'done', 'a', '1');
select * from t.fail(:'failed', 'a', 'no');
select status, output, error_message from pgflow.cancel_run(:'done', 'too late');
select status, output, error_message from pgflow.cancel_run(:'failed', 'too late');

-- Without a reason.
select pgflow.run_flow('cancel_done') as run \gset
select status, error_message from pgflow.cancel_run(:'run');
call t.fails($$select pgflow.cancel_run(null)$$);
call t.fails($$select pgflow.cancel_run('00000000-0000-7000-8000-000000000000')$$);
select * from pgflow.check_integrity();
