\pset null <null>
-- The whole flow as one document, in any order of steps.
select * from pgflow.define_flow($${
  "flow_slug": "define_flow", "description": "what it does", "max_attempts": 4, "base_delay": 6, "timeout": 61,
  "max_delay": 600, "output_step_slug": "last", "executor": "external", "target": "paid",
  "steps": [
    {"step_slug": "last", "deps_slugs": ["first", "each"], "executor": "worker", "target": null, "queue": "elsewhere",
     "max_attempts": 1, "base_delay": 2, "timeout": 3, "start_delay": 4, "start_mode": "manual",
     "required_input_pattern": {"first": {}}, "forbidden_input_pattern": {"first": {"x": 1}},
     "when_unmet": "fail", "when_exhausted": "skip-cascade"},
    {"step_slug": "first"},
    {"step_slug": "each", "deps_slugs": ["first"], "step_type": "map", "map_over": "first", "target": "shipped"}
  ]}$$);
select version, description from pgflow.flows where flow_slug = 'define_flow';
select max_attempts, base_delay, timeout, max_delay, output_step_slug from pgflow.flow_versions where flow_slug = 'define_flow';
select step_slug, step_index, step_type, map_over, executor, target, queue, start_mode
from pgflow.steps where flow_slug = 'define_flow' order by step_slug;
select step_slug, max_attempts, base_delay, timeout, start_delay, required_input_pattern, forbidden_input_pattern, when_unmet, when_exhausted
from pgflow.steps where flow_slug = 'define_flow' order by step_slug;
select from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'define_flow' order by 2, 1;

-- The same shape again changes nothing, in whatever order of steps, deps and fields.
call t.flow('define_flow_again', '[{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["a", "b"]}]');
select xmin as before from pgflow.flows where flow_slug = 'define_flow_again' \gset
select * from pgflow.define_flow('{"steps": [{"deps_slugs": ["b", "a"], "step_slug": "c"}, {"step_slug": "b", "step_type": "single"},
                                   {"step_slug": "a", "deps_slugs": []}], "flow_slug": "define_flow_again", "max_attempts": 3}');
select xmin = :'before' as untouched from pgflow.flows where flow_slug = 'define_flow_again';

-- Another shape before the first run: in place. Steps that are no longer named are gone.
select * from pgflow.define_flow('{"flow_slug": "define_flow_again", "steps": [{"step_slug": "b"}, {"step_slug": "c", "deps_slugs": ["b"]}]}');
select flow_version, step_slug, step_index from pgflow.steps where flow_slug = 'define_flow_again' order by 1, 3;
select flow_version, from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'define_flow_again';

-- After it: the next version.
select pgflow.run_flow('define_flow_again') as run \gset
select * from pgflow.define_flow('{"flow_slug": "define_flow_again", "steps": [{"step_slug": "c", "deps_slugs": ["b"]}, {"step_slug": "b"}]}');
select * from pgflow.define_flow('{"flow_slug": "define_flow_again", "steps": [{"step_slug": "a"}, {"step_slug": "c", "deps_slugs": ["a"]}]}');
select flow_version, step_slug, step_index from pgflow.steps where flow_slug = 'define_flow_again' order by 1, 3;
select flow_version, from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'define_flow_again' order by 1;

-- What create_flow and add_step made is the same thing, and a flow may have no steps.
select (pgflow.create_flow('define_flow_mixed')).version, (pgflow.add_step('define_flow_mixed', 'a')).step_index;
select * from pgflow.define_flow('{"flow_slug": "define_flow_mixed", "steps": [{"step_slug": "a"}]}');
select * from pgflow.define_flow('{"flow_slug": "define_flow_empty", "steps": []}');
select * from pgflow.check_integrity();
