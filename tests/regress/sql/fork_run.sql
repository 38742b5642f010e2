\pset null <null>
call t.flow('fork', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "c", "deps_slugs": ["b"]}, {"step_slug": "d"},
                      {"step_slug": "skipped", "required_input_pattern": {"x": 1}}, {"step_slug": "e", "deps_slugs": ["d", "skipped"]}]');
select pgflow.run_flow('fork', '{"n": 1}', 'fork key', 3, key => 'tenant') as origin \gset
select t.work('fork');
-- The named step and all that is downstream run again, the others keep their state and output.
select pgflow.fork_run(:'origin', '{b}') as fork \gset
select flow_version, status, payload, output, parent_run_id = :'origin' as of_origin, parent_step_slug, parent_task_index, idempotency_key
from pgflow.runs where run_id = :'fork';
select * from t.steps(:'fork');
select * from t.claim('fork');
select * from t.complete(:'fork', 'b', '"new b"');
select * from t.claim('fork');
select * from t.complete(:'fork', 'c', '"new c"');
select * from t.run(:'fork');
select * from t.run(:'origin');

-- Another payload, another place; on the version of the origin.
select (pgflow.add_step('fork', 'later')).step_index;
select pgflow.fork_run(:'origin', '{d,skipped}', '{"x": 1}') as fork \gset
select flow_version, payload from pgflow.runs where run_id = :'fork';
select * from t.steps(:'fork');
select * from t.claim('fork');
select t.snapshot(:'fork') as before \gset
-- Cancelled, retried or pruned, the origin does not matter to it.
select status from pgflow.cancel_run(:'origin');
select t.age(:'origin') is not null as aged;
select pgflow.prune_runs('40 years');
select t.snapshot(:'fork') = :'before' as untouched;
select * from t.complete(:'fork', 'd', '"new d"');
select * from t.complete(:'fork', 'skipped', '"not now"');
select step_slug, input from t.claim('fork');
select * from t.complete(:'fork', 'e', '"new e"');
select * from t.run(:'fork');

-- Of a failed run: what was not completed runs again as well.
call t.flow('fork_failed', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}]', '{"max_attempts": 1}');
select pgflow.run_flow('fork_failed') as origin \gset
select step_slug from t.claim('fork_failed');
select * from t.complete(:'origin', 'a', '[1, 2]');
select step_slug, task_index from t.claim('fork_failed');
select * from t.complete(:'origin', 'm', '"old"', 0);
select * from t.fail(:'origin', 'b', 'no');
select pgflow.fork_run(:'origin', '{b}') as fork \gset
select * from t.steps(:'fork');
select step_slug, task_index, attempt, input from t.claim('fork_failed');
select (pgflow.cancel_run(:'fork')).status;
-- A fork of a fork, from its start; a map over new items.
call t.flow('fork_map', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]');
select pgflow.run_flow('fork_map', '["x"]') as origin \gset
select t.work('fork_map');
select pgflow.fork_run(:'origin', '{n}') as fork \gset
select t.work('fork_map');
select pgflow.fork_run(:'fork', '{m}', '["y", "z"]') as fork \gset
select t.work('fork_map');
select * from t.run(:'fork');
select pgflow.fork_run(:'fork', '{m}', '[]') as fork \gset
select * from t.run(:'fork');

-- What it refuses.
select count(*) as before from pgflow.runs \gset
call t.fails($$select pgflow.fork_run($1, '{m}', '1')$$, :'fork');
-- Also where the map is kept, of whose payload its tasks are the elements.
call t.fails($$select pgflow.fork_run($1, '{n}', '{}')$$, :'fork');
call t.fails($$select pgflow.fork_run($1, '{nothing}')$$, :'fork');
call t.fails($$select pgflow.fork_run($1, array[null])$$, :'fork');
call t.fails($$select pgflow.fork_run($1, null)$$, :'fork');
call t.fails($$select pgflow.fork_run(null, '{m}')$$);
call t.fails($$select pgflow.fork_run('00000000-0000-7000-8000-000000000000', '{m}')$$);
select count(*) - :before as new from pgflow.runs;
select pgflow.run_flow('fork_map', '[1]') as live \gset
call t.fails($$select pgflow.fork_run($1, '{m}')$$, :'live');
select * from pgflow.check_integrity();
