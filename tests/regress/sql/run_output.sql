\pset null <null>
-- Without output_step_slug: an object of the completed leaves.
call t.flow('output', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]},
                        {"step_slug": "c", "deps_slugs": ["a"], "required_input_pattern": {"a": {}}}]');
select pgflow.run_flow('output') as run \gset
select step_slug from t.claim('output');
select * from t.complete(:'run', 'a', '["x"]');
select t.work('output');
select * from t.run(:'run');

-- With it: the output of that step, leaf or not; NULL if it was skipped.
call t.flow('output_step', '[{"step_slug": "a", "forbidden_input_pattern": {"skip": true}}, {"step_slug": "b", "deps_slugs": ["a"]}]', '{"output_step_slug": "a"}');
select pgflow.run_flow('output_step') as run, pgflow.run_flow('output_step', '{"skip": true}') as skipped \gset
select t.work('output_step');
select * from t.run(:'run');
select * from t.run(:'skipped');

-- It may be named before it is added; until then no run starts.
select version from pgflow.create_flow('output_later', output_step_slug => 'b');
select output_step_slug from pgflow.flow_versions v where v.flow_slug = 'output_later';
call t.fails($$select pgflow.run_flow('output_later')$$);
select (pgflow.add_step('output_later', 'a')).step_index;
call t.fails($$select pgflow.run_flow('output_later')$$);
select count(*) from pgflow.runs where flow_slug = 'output_later';
select (pgflow.add_step('output_later', 'b', '{a}')).step_index;
select pgflow.run_flow('output_later') as run \gset
select t.work('output_later');
select * from t.run(:'run');

select changed from pgflow.define_flow('{"flow_slug": "output_later_too", "output_step_slug": "b", "steps": [{"step_slug": "a"}]}');
call t.fails($$select pgflow.run_flow('output_later_too')$$);

-- Falsy outputs are kept, and an SQL NULL is JSON null.
call t.flow('output_falsy', '[{"step_slug": "zero"}, {"step_slug": "no"}, {"step_slug": "empty"}, {"step_slug": "null"}, {"step_slug": "nothing"}, {"step_slug": "list"}, {"step_slug": "object"},
  {"step_slug": "all", "deps_slugs": ["zero", "no", "empty", "null", "nothing", "list", "object"]}]');
select pgflow.run_flow('output_falsy') as run \gset
select count(*) from t.claim('output_falsy');
select * from t.complete(:'run', 'zero', '0');
select * from t.complete(:'run', 'no', 'false');
select * from t.complete(:'run', 'empty', '""');
select * from t.complete(:'run', 'null', 'null');
select * from t.complete(:'run', 'nothing', null);
select * from t.complete(:'run', 'list', '[]');
select * from t.complete(:'run', 'object', '{}');
select input from t.claim('output_falsy');
select * from t.complete(:'run', 'all', null);
select * from t.run(:'run');
select step_slug, output from t.steps(:'run');
select pgflow.run_flow('output_step') as run \gset
select step_slug from t.claim('output_step');
select * from t.complete(:'run', 'a', null);
select step_slug, input from t.claim('output_step');
select * from t.complete(:'run', 'b', null);
select * from t.run(:'run');
select * from pgflow.check_integrity();
