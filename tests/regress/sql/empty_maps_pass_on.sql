\pset null <null>
-- A map over nothing completes at once with [], and so does a map over that; a single step gets the [].
call t.flow('empty_maps', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]},
                            {"step_slug": "s", "deps_slugs": ["n", "m"]}]');
select pgflow.run_flow('empty_maps', '[]') as run \gset
select * from t.steps(:'run');
select step_slug, status, initial_tasks, remaining_tasks from t.counts(:'run') where step_slug <> 's';
select * from t.tasks(:'run');
select * from t.claim('empty_maps');
select * from t.complete(:'run', 's', '1');
select * from t.run(:'run');

-- In the middle of a run, by a step that returns [].
call t.flow('empty_later', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]},
                             {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]');
select pgflow.run_flow('empty_later') as run \gset
select step_slug from t.claim('empty_later');
select * from t.complete(:'run', 'a', '[]');
select * from t.steps(:'run');
select * from t.run(:'run');

-- A run of empty maps only is over when run_flow returns.
call t.flow('empty_only', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]');
select pgflow.run_flow('empty_only', '[]') as run \gset
select * from t.run(:'run');
select * from t.tasks(:'run');

-- A join of an empty map and a step that still works waits for it.
call t.flow('empty_join', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map"}, {"step_slug": "j", "deps_slugs": ["a", "m"]}]');
select pgflow.run_flow('empty_join', '[]') as run \gset
select * from t.counts(:'run') where step_slug <> 'a';
select * from t.claim('empty_join');
select * from t.complete(:'run', 'a', '"a"');
select * from t.claim('empty_join');
select * from pgflow.check_integrity();
