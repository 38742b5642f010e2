\pset null <null>
call t.flow('claiming', '[{"step_slug": "a"}, {"step_slug": "b", "queue": "claiming_elsewhere", "timeout": 7}]', '{"timeout": 50}');
select pgflow.run_flow('claiming') as run \gset
-- Each queue hands out its own tasks; an unknown one has none, and none is handed out twice.
select * from t.claim('claiming_unknown');
select * from t.claim('claiming', 0);
select flow_slug, step_slug, task_index, attempt, input, run_id = :'run' as mine,
       lease between 1 and 9007199254740991 as safe
from pgflow.claim_step_tasks('claiming', worker_id => 'worker 1');
select * from t.claim('claiming');
select * from t.claim('claiming_elsewhere');
select step_slug, attempt, status, worker_id from pgflow.step_tasks where run_id = :'run' order by 1;

-- The lease lasts lease_seconds, else the timeout of the step, else that of the flow.
select step_slug, lease_expires_at - started_at as lasts from pgflow.live_tasks l join pgflow.step_tasks using (run_id, step_slug, task_index)
where run_id = :'run' order by 1;
select pgflow.run_flow('claiming') as run \gset
select count(*) from t.claim('claiming', lease_seconds => 3) a, t.claim('claiming_elsewhere', lease_seconds => 3600) b;
select step_slug, lease_expires_at - started_at as lasts from pgflow.live_tasks l join pgflow.step_tasks using (run_id, step_slug, task_index)
where run_id = :'run' order by 1;

-- Only tasks of executor worker are handed out, whatever the queue.
create function t.echo(input jsonb) returns jsonb language sql as 'select input';
call t.flow('claiming_executors', '[{"step_slug": "sql", "executor": "sql", "target": "t.echo"}, {"step_slug": "http", "executor": "http", "target": "https://example.com"},
  {"step_slug": "flow", "executor": "flow", "target": "claiming"}, {"step_slug": "timer", "executor": "timer"},
  {"step_slug": "external", "executor": "external"}, {"step_slug": "worker"}]');
select pgflow.run_flow('claiming_executors') as run \gset
select * from t.claim('claiming_executors');
select step_slug, executor, target from pgflow.steps where flow_slug = 'claiming_executors' order by 1;
select status from t.run(:'run');

-- Limits.
call t.fails($$select pgflow.claim_step_tasks(null)$$);
call t.fails($$select pgflow.claim_step_tasks('claiming', -1)$$);
call t.fails($$select pgflow.claim_step_tasks('claiming', 10001)$$);
call t.fails($$select pgflow.claim_step_tasks('claiming', lease_seconds => -1)$$);
select count(*) from t.claim('claiming', 10000);

-- Every lease is another number.
call t.flow('claiming_map', '[{"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('claiming_map', (select jsonb_agg(n) from generate_series(1, 1000) n)) as run \gset
select count(distinct lease) > 990 as random, min(lease) > 0 as positive, max(lease) < 9007199254740992 as safe,
       max(lease) > 2147483647 as wide
from pgflow.claim_step_tasks('claiming_map', 10000);
select * from pgflow.check_integrity();
