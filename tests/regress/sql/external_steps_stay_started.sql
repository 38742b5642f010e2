-- Nobody takes an external task up again, so it cannot be released; and one without a timeout of its own never times out.
call t.flow('stays', '[{"step_slug": "approval", "executor": "external"}]');
select pgflow.run_flow('stays') as run \gset
select accepted, task_status, step_status from pgflow.release_step_task(:'run', 'approval');
select accepted, task_status from pgflow.extend_step_task(:'run', 'approval', lease_seconds => 1);
select status, lease_expires_at from pgflow.live_tasks where run_id = :'run';
select accepted, run_status from pgflow.complete_step(:'run', 'approval');
