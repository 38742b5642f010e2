\pset null <null>
-- A failed run goes on where it failed: completed and skipped steps stay, the rest is ready at once.
call t.flow('retry', '[{"step_slug": "a"}, {"step_slug": "skipped", "required_input_pattern": {"x": 1}}, {"step_slug": "b", "deps_slugs": ["a"]},
  {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}, {"step_slug": "end", "deps_slugs": ["b", "m", "skipped"]}]', '{"max_attempts": 2, "base_delay": 100}');
select pgflow.run_flow('retry') as run \gset
select step_slug from t.claim('retry');
select * from t.complete(:'run', 'a', '[0, 1, 2]');
select step_slug, task_index from t.claim('retry', 3);
select * from t.complete(:'run', 'm', '"kept"', 1);
select * from t.fail(:'run', 'm', 'first', 0);
select * from t.fail(:'run', 'b', 'first');
call t.due(:'run', 'b');
select step_slug, attempt from t.claim('retry', 1);
select step_slug, task_index, attempt from t.claim('retry');
select * from t.fail(:'run', 'b', 'second');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');

select status, output, error_message, finished_at from pgflow.retry_run(:'run');
select * from t.steps(:'run');
select step_slug, task_index, attempt, status from t.tasks(:'run') where status = 'queued';
select * from t.counts(:'run') where step_slug = 'end';
select * from t.claim('retry');
-- A new budget, and the delay grows from its start again.
select * from t.fail(:'run', 'b', 'third');
select t.delay(:'run', 'b') between 90 and 110 as after_100;
call t.due(:'run');
select attempt from t.claim('retry');
select * from t.complete(:'run', 'b', '"b"');
select * from t.complete(:'run', 'm', '"zero"', 0);
select * from t.complete(:'run', 'm', '"two"', 2);
select * from t.claim('retry');
select * from t.complete(:'run', 'end', '"end"');
select * from t.run(:'run');
select step_slug, task_index, attempt, status from t.tasks(:'run');

-- A cancelled run, too, again and again; the old leases are void.
call t.flow('retry_cancelled', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map"}, {"step_slug": "manual", "deps_slugs": ["a"], "start_mode": "manual"},
  {"step_slug": "ext", "executor": "external"}]');
select pgflow.run_flow('retry_cancelled', '[1, 2]') as run \gset
select step_slug, task_index from t.claim('retry_cancelled');
select * from t.complete(:'run', 'a', '"a"');
select (pgflow.cancel_run(:'run', 'stop')).status;
select status, error_message from pgflow.retry_run(:'run');
select * from t.refusals(:'run', 'm', 0, t.lease(:'run', 'm'));
select (pgflow.cancel_run(:'run', 'stop')).status;
select status from pgflow.retry_run(:'run');
select step_slug, status, remaining_deps from t.counts(:'run');
select step_slug, task_index, attempt, status from t.tasks(:'run');
select * from t.claim('retry_cancelled');
select step_slug, status from pgflow.start_step(:'run', 'manual');
select accepted, run_status from pgflow.complete_step(:'run', 'ext', '"e"');
select * from t.complete(:'run', 'm', '1', 0);
select * from t.complete(:'run', 'm', '2', 1);
select t.work('retry_cancelled');
select * from t.run(:'run');

-- One failed task of a map: the completed ones keep their outputs, the map ends when it does.
call t.flow('retry_map', '[{"step_slug": "m", "step_type": "map"}]', '{"max_attempts": 1}');
select pgflow.run_flow('retry_map', '["x", "y", "z"]') as run \gset
select count(*) from t.claim('retry_map', 2);
select * from t.complete(:'run', 'm', '"X"', 0);
select * from t.fail(:'run', 'm', 'no', 1);
select status from pgflow.retry_run(:'run');
select * from t.claim('retry_map');
select * from t.complete(:'run', 'm', '"Z"', 2);
select * from t.complete(:'run', 'm', '"Y"', 1);
select * from t.run(:'run');

-- What became of skip and cascade stays.
call t.flow('retry_skipped', '[{"step_slug": "a", "when_exhausted": "skip-cascade"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "c"}]', '{"max_attempts": 1}');
select pgflow.run_flow('retry_skipped') as run \gset
select count(*) from t.claim('retry_skipped');
select * from t.fail(:'run', 'a', 'no');
select * from t.fail(:'run', 'c', 'no');
select status from pgflow.retry_run(:'run');
select * from t.steps(:'run');
select t.work('retry_skipped');
select * from t.run(:'run');

-- Completed and live runs are left alone.
call t.fails($$select pgflow.retry_run($1)$$, :'run');
select pgflow.run_flow('retry_map', '[1]') as run \gset
call t.fails($$select pgflow.retry_run($1)$$, :'run');
call t.fails($$select pgflow.retry_run(null)$$);
call t.fails($$select pgflow.retry_run('00000000-0000-7000-8000-000000000000')$$);
select * from pgflow.check_integrity();
