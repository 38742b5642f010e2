\pset null <null>
call t.flow('manual', '[{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "go", "deps_slugs": ["a", "b"], "start_mode": "manual"}, {"step_slug": "end", "deps_slugs": ["go"]}]');
select pgflow.run_flow('manual') as run \gset
-- Not before its deps are resolved: the DETAIL names those that are not.
call t.fails($$select pgflow.start_step($1, 'go')$$, :'run');
select step_slug from t.claim('manual');
select * from t.complete(:'run', 'a', '1');
call t.fails($$select pgflow.start_step($1, 'go')$$, :'run');
call t.fails($$select pgflow.start_step($1, 'end')$$, :'run');
select * from t.complete(:'run', 'b', '2');

-- Then it waits, and so does the run.
select * from t.counts(:'run');
select * from t.refusals(:'run', 'go');
select * from t.claim('manual');
select status from t.run(:'run');
select step_slug, status, remaining_deps, started_at is not null as started from pgflow.start_step(:'run', 'go');
select * from t.claim('manual');

-- Started or ended: the row as it is.
select t.snapshot(:'run') as before \gset
select step_slug, status, output from pgflow.start_step(:'run', 'go');
select step_slug, status, output from pgflow.start_step(:'run', 'a');
select t.snapshot(:'run') = :'before' as untouched;
select * from t.complete(:'run', 'go', '3');
select t.work('manual');
select step_slug, status, output from pgflow.start_step(:'run', 'go');
select * from t.run(:'run');
select pgflow.run_flow('manual') as run \gset
select (pgflow.cancel_run(:'run')).status;
select step_slug, status from pgflow.start_step(:'run', 'go');

-- A root step, and maps: with items, and without.
call t.flow('manual_root', '[{"step_slug": "m", "step_type": "map", "start_mode": "manual"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"], "start_mode": "manual"}]');
select pgflow.run_flow('manual_root', '["x", "y"]') as run \gset
select * from t.claim('manual_root');
select step_slug, status, initial_tasks from pgflow.start_step(:'run', 'm');
select t.work('manual_root');
select step_slug, status, initial_tasks from pgflow.start_step(:'run', 'n');
select t.work('manual_root');
select * from t.run(:'run');
select pgflow.run_flow('manual_root', '[]') as run \gset
select * from t.steps(:'run');
select step_slug, status, output from pgflow.start_step(:'run', 'm');
select * from t.steps(:'run');
select step_slug, status, output from pgflow.start_step(:'run', 'n');
select * from t.run(:'run');

-- Conditions are looked at when the deps resolve, not at the start.
call t.flow('manual_condition', '[{"step_slug": "a"}, {"step_slug": "met", "deps_slugs": ["a"], "start_mode": "manual", "required_input_pattern": {"a": 1}},
  {"step_slug": "unmet", "deps_slugs": ["a"], "start_mode": "manual", "required_input_pattern": {"a": 2}}]');
select pgflow.run_flow('manual_condition') as run \gset
select step_slug from t.claim('manual_condition');
select * from t.complete(:'run', 'a', '1');
select * from t.steps(:'run');
select step_slug, status, skip_reason from pgflow.start_step(:'run', 'unmet');
select step_slug, status from pgflow.start_step(:'run', 'met');
select t.work('manual_condition');
select * from t.run(:'run');

call t.fails($$select pgflow.start_step(null, 'a')$$);
call t.fails($$select pgflow.start_step($1, null)$$, :'run');
call t.fails($$select pgflow.start_step($1, 'nothing')$$, :'run');
call t.fails($$select pgflow.start_step('00000000-0000-7000-8000-000000000000', 'a')$$);
select * from pgflow.check_integrity();
