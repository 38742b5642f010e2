\pset null <null>
-- Not an object, nothing, no slug.
call t.fails($$select pgflow.define_flow(null)$$);
call t.fails($$select pgflow.define_flow('null')$$);
call t.fails($$select pgflow.define_flow('[]')$$);
call t.fails($$select pgflow.define_flow('{}')$$);

-- One problem each, with its path.
call t.fails($$select pgflow.define_flow('{"flow_slug": "not a slug", "steps": []}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": {}}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [1]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "colour": "red", "steps": []}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "colour": "red"}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "max_attempts": "3", "steps": []}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "timeout": 1.5}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "max_attempts": 2147483648}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "max_attempts": 0}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "deps_slugs": "b"}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "deps_slugs": ["b"]}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a"}, {"step_slug": "a"}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a", "a"]}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a", "b"]}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "required_input_pattern": [1]}]}')$$);

-- A cycle is spelled out, and what only hangs from it is not blamed.
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [{"step_slug": "a", "deps_slugs": ["a"]}]}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "steps": [
  {"step_slug": "root"}, {"step_slug": "a", "deps_slugs": ["c", "root"]}, {"step_slug": "b", "deps_slugs": ["a"]},
  {"step_slug": "c", "deps_slugs": ["b"]}, {"step_slug": "leaf", "deps_slugs": ["c"]}]}')$$);

-- All of them at once.
call t.fails($$select pgflow.define_flow('{"flow_slug": "problems", "colour": "red", "timeout": "long", "steps": [
  {"step_slug": "a", "deps_slugs": ["b"]},
  {"step_slug": "b", "deps_slugs": ["a", "nothing"]},
  {"step_slug": "b"},
  {"step_slug": "c", "deps_slugs": ["a", "a"], "executor": "magic"},
  {"step_slug": "run"},
  {"deps_slugs": []},
  {"step_slug": "d", "max_attempts": true, "when_unmet": "explode", "start_mode": 1}]}')$$);

-- Nothing of all this was stored.
select count(*) from pgflow.flows where flow_slug = 'problems';
select count(*) from pgflow.steps where flow_slug = 'problems';
