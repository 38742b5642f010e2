\pset null <null>
-- fail: the step and the run fail; what is unfinished is cancelled.
call t.flow('exhausted', '[{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["a"]}, {"step_slug": "d"}]', '{"max_attempts": 1}');
select pgflow.run_flow('exhausted') as run \gset
select step_slug from t.claim('exhausted', 2);
select * from t.fail(:'run', 'a', 'out of luck');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select * from t.complete(:'run', 'b', '1');
select * from t.claim('exhausted');
select count(*) from pgflow.live_tasks where run_id = :'run';

-- skip: the dependents go on without its key.
call t.flow('exhausted_skip', '[{"step_slug": "a", "when_exhausted": "skip"}, {"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["a", "b"]}]', '{"max_attempts": 1}');
select pgflow.run_flow('exhausted_skip') as run \gset
select step_slug from t.claim('exhausted_skip');
select * from t.fail(:'run', 'a', 'out of luck');
select * from t.complete(:'run', 'b', '2');
select * from t.claim('exhausted_skip');
select * from t.complete(:'run', 'c', '3');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');

-- skip-cascade: it and all that is downstream; the rest goes on.
call t.flow('exhausted_cascade', '[{"step_slug": "a", "when_exhausted": "skip-cascade"}, {"step_slug": "b", "deps_slugs": ["a"]},
  {"step_slug": "c", "deps_slugs": ["b", "d"]}, {"step_slug": "d"}, {"step_slug": "e", "deps_slugs": ["d"]}]', '{"max_attempts": 1}');
select pgflow.run_flow('exhausted_cascade') as run \gset
select step_slug from t.claim('exhausted_cascade');
select * from t.fail(:'run', 'a', 'out of luck');
select * from t.complete(:'run', 'd', '"d"');
select * from t.claim('exhausted_cascade');
select * from t.complete(:'run', 'e', '"e"');
select * from t.run(:'run');
select * from t.steps(:'run');

-- For a map it acts on the whole step: the other tasks are cancelled, completed ones too count for nothing.
call t.flow('exhausted_map', '[{"step_slug": "m", "step_type": "map", "when_exhausted": "skip"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]},
  {"step_slug": "s", "deps_slugs": ["m", "n"]}]', '{"max_attempts": 1}');
select pgflow.run_flow('exhausted_map', '[0, 1, 2, 3]') as run \gset
select task_index from t.claim('exhausted_map', 3);
select * from t.complete(:'run', 'm', '"done"', 0);
select * from t.fail(:'run', 'm', 'out of luck', 1);
select * from t.tasks(:'run');
select * from t.complete(:'run', 'm', '"late"', 2);
select * from t.steps(:'run');
select step_slug, remaining_tasks from t.counts(:'run') where step_slug = 'm';
select * from t.claim('exhausted_map');
select * from t.complete(:'run', 's', '1');
select * from t.run(:'run');

-- A map that fails, fails the run.
call t.flow('exhausted_map_fail', '[{"step_slug": "m", "step_type": "map"}]', '{"max_attempts": 1}');
select pgflow.run_flow('exhausted_map_fail', '[0, 1]') as run \gset
select task_index from t.claim('exhausted_map_fail');
select * from t.complete(:'run', 'm', '"done"', 1);
select * from t.fail(:'run', 'm', 'out of luck', 0);
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select * from pgflow.check_integrity();
