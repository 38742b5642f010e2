\pset null <null>
-- A root step's conditions look at the payload.
call t.flow('conditions', '[
  {"step_slug": "eu", "required_input_pattern": {"region": "eu"}},
  {"step_slug": "rest", "forbidden_input_pattern": {"region": "eu"}},
  {"step_slug": "both", "required_input_pattern": {"region": "eu"}, "forbidden_input_pattern": {"test": true}},
  {"step_slug": "end", "deps_slugs": ["eu", "rest", "both"]}]');
select pgflow.run_flow('conditions', '{"region": "eu", "n": 1}') as eu, pgflow.run_flow('conditions', '{"region": "us"}') as us,
       pgflow.run_flow('conditions', '{"region": "eu", "test": true}') as test, pgflow.run_flow('conditions', '1') as bare \gset
select * from t.steps(:'eu');
select * from t.steps(:'us');
select * from t.steps(:'test');
select * from t.steps(:'bare');
select t.work('conditions');
select * from t.run(:'eu');
select * from t.steps(:'us');

-- Others look at the outputs of their completed deps. A skipped dep is resolved, and its key is absent.
call t.flow('conditions_deps', '[
  {"step_slug": "a"},
  {"step_slug": "b", "required_input_pattern": {"go": true}},
  {"step_slug": "c", "deps_slugs": ["a", "b"], "required_input_pattern": {"a": {"ok": true}}},
  {"step_slug": "d", "deps_slugs": ["a", "b"], "required_input_pattern": {"b": {}}},
  {"step_slug": "e", "deps_slugs": ["a", "b"], "forbidden_input_pattern": {"b": {}}},
  {"step_slug": "f", "deps_slugs": ["a"], "required_input_pattern": {"go": false}}]');
select pgflow.run_flow('conditions_deps', '{"go": false}') as run \gset
select step_slug from t.claim('conditions_deps');
select * from t.complete(:'run', 'a', '{"ok": true, "more": 1}');
select * from t.steps(:'run');
select step_slug, input from t.claim('conditions_deps');

-- A skip lets the dependents go on, one after the other in the same call.
call t.flow('conditions_chain', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"], "required_input_pattern": {"a": 1}},
  {"step_slug": "c", "deps_slugs": ["b"], "required_input_pattern": {"b": 1}}, {"step_slug": "d", "deps_slugs": ["c"]}]');
select pgflow.run_flow('conditions_chain') as run \gset
select step_slug from t.claim('conditions_chain');
select * from t.complete(:'run', 'a', '2');
select * from t.steps(:'run');
select * from t.claim('conditions_chain');

-- A map: it has no tasks when skipped, and none over a skipped dep.
call t.flow('conditions_map', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"], "required_input_pattern": {"a": [7]}},
  {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}, {"step_slug": "s", "deps_slugs": ["n"]}]');
select pgflow.run_flow('conditions_map') as met, pgflow.run_flow('conditions_map') as unmet \gset
select count(*) from t.claim('conditions_map');
select * from t.complete(:'met', 'a', '[7, 8]');
select * from t.complete(:'unmet', 'a', '[8, 9]');
select * from t.steps(:'met');
select * from t.steps(:'unmet');
select step_slug, input from t.claim('conditions_map');

-- fail: step and run fail, even within run_flow.
call t.flow('conditions_fail', '[{"step_slug": "a", "required_input_pattern": {"ok": true}, "when_unmet": "fail"}, {"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["a"]}]');
select pgflow.run_flow('conditions_fail', '{"ok": false}') as run \gset
select status, output, error_message is not null as explained from t.run(:'run');
select step_slug, status, skip_reason from t.steps(:'run');
select step_slug, status from t.tasks(:'run') where status <> 'cancelled';
select * from t.claim('conditions_fail');
call t.flow('conditions_fail_later', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"], "forbidden_input_pattern": {"a": {"bad": true}}, "when_unmet": "fail"}]');
select pgflow.run_flow('conditions_fail_later') as run \gset
select step_slug from t.claim('conditions_fail_later');
select * from t.complete(:'run', 'a', '{"bad": true}');
select step_slug, status, output from t.steps(:'run');

-- An empty pattern is contained in every object.
call t.flow('conditions_empty', '[{"step_slug": "a", "required_input_pattern": {}}, {"step_slug": "b", "forbidden_input_pattern": {}}]');
select pgflow.run_flow('conditions_empty') as run \gset
select step_slug, status, skip_reason from t.steps(:'run');

-- All skipped: completed, without an output.
call t.flow('conditions_none', '[{"step_slug": "a", "required_input_pattern": {"x": 1}}]');
select pgflow.run_flow('conditions_none') as run \gset
select * from t.run(:'run');
select * from pgflow.check_integrity();
