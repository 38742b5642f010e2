\pset null <null>
-- One task for each element, of any kind; the output is the array of the tasks' outputs in index order.
call t.flow('map_steps', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]},
                           {"step_slug": "end", "deps_slugs": ["n"]}]');
select pgflow.run_flow('map_steps', '[0, "x", null, [], {"k": false}]') as run \gset
select * from t.claim('map_steps', 2);
select * from t.claim('map_steps');
select * from t.counts(:'run') where step_slug = 'm';
select * from t.complete(:'run', 'm', '"four"', 4);
select * from t.complete(:'run', 'm', null, 2);
select * from t.complete(:'run', 'm', 'false', 0);
select * from t.complete(:'run', 'm', '[3]', 3);
select step_slug, status, remaining_tasks > 0 as busy from t.counts(:'run') where step_slug = 'm';
select * from t.steps(:'run');
select * from t.complete(:'run', 'm', '""', 1);
select * from t.steps(:'run');
select step_slug, status, initial_tasks, remaining_tasks from t.counts(:'run');

-- A map over the output of a map.
select * from t.claim('map_steps');
select * from t.complete(:'run', 'n', '0', 0);
select * from t.complete(:'run', 'n', '1', 1);
select * from t.complete(:'run', 'n', '2', 2);
select * from t.complete(:'run', 'n', '3', 3);
select * from t.complete(:'run', 'n', '4', 4);
select * from t.claim('map_steps');
select * from t.complete(:'run', 'end', '{}');
select * from t.run(:'run');
select * from t.tasks(:'run');

-- Over a single step's output, and with several deps over the one that map_over names; the others are only waited for.
call t.flow('map_over', '[{"step_slug": "list"}, {"step_slug": "also"},
                          {"step_slug": "m", "step_type": "map", "deps_slugs": ["also", "list"], "map_over": "list"}]');
select pgflow.run_flow('map_over') as run \gset
select * from t.claim('map_over');
select * from t.complete(:'run', 'list', '[[1], [2]]');
select * from t.claim('map_over');
select * from t.complete(:'run', 'also', '"no array"');
select * from t.claim('map_over');
select * from t.complete(:'run', 'm', '10', 0);
select * from t.complete(:'run', 'm', '20', 1);
select * from t.run(:'run');

-- Larger than one batch.
call t.flow('map_large', '[{"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('map_large', (select jsonb_agg(n) from generate_series(0, 2499) n)) as run \gset
select t.work('map_large');
select status, output = jsonb_build_object('m', r.payload) as same from pgflow.runs r where run_id = :'run';
select * from pgflow.check_integrity();
