\pset null <null>
-- Cost must stay flat: each of these takes well under a second, a walk over paths or over all steps again and again does not.
set statement_timeout = '60s';

-- A ladder: 200 levels of two steps, each on both of the level above; a skip at the top visits each step once.
select changed from pgflow.define_flow((select jsonb_build_object('flow_slug', 'scale_ladder', 'steps',
  '[{"step_slug": "top", "required_input_pattern": {"x": 1}, "when_unmet": "skip-cascade"}]'::jsonb || jsonb_agg(jsonb_build_object(
    'step_slug', side || level, 'deps_slugs', case level when 1 then '["top"]'::jsonb else jsonb_build_array('l' || level - 1, 'r' || level - 1) end)))
  from generate_series(1, 200) level, (values ('l'), ('r')) s (side)));
set statement_timeout = '5s';
select pgflow.run_flow('scale_ladder') as run \gset
set statement_timeout = '60s';
select status, output from t.run(:'run');
select status, skip_reason, count(*) from t.steps(:'run') group by 1, 2 order by 3;
-- The same ladder, worked.
select pgflow.run_flow('scale_ladder', '{"x": 1}') as run \gset
select t.work('scale_ladder');
select * from t.run(:'run');

-- 1,000 chained maps over nothing end in one call.
select changed from pgflow.define_flow((select jsonb_build_object('flow_slug', 'scale_chain', 'steps', jsonb_agg(
  jsonb_build_object('step_slug', 'm' || n, 'step_type', 'map', 'deps_slugs', case n when 1 then '[]'::jsonb else jsonb_build_array('m' || n - 1) end)))
  from generate_series(1, 1000) n));
select pgflow.run_flow('scale_chain', '[]') as run \gset
select * from t.run(:'run');
select status, output, count(*) from t.steps(:'run') group by 1, 2;
-- 1,000 chained plain skips, too.
select changed from pgflow.define_flow((select jsonb_build_object('flow_slug', 'scale_skips', 'steps', jsonb_agg(
  jsonb_build_object('step_slug', 's' || n, 'required_input_pattern', '{"x": 1}'::jsonb, 'deps_slugs', case n when 1 then '[]'::jsonb else jsonb_build_array('s' || n - 1) end)))
  from generate_series(1, 1000) n));
select pgflow.run_flow('scale_skips') as run \gset
select * from t.run(:'run');
select status, skip_reason, count(*) from t.steps(:'run') group by 1, 2;

-- A DAG of 2,000 steps: forty layers of fifty, each step on two of the layer above.
select changed from pgflow.define_flow((select jsonb_build_object('flow_slug', 'scale_dag', 'steps', jsonb_agg(jsonb_build_object(
    'step_slug', format('s%s_%s', layer, n),
    'deps_slugs', case layer when 1 then '[]'::jsonb else jsonb_build_array(format('s%s_%s', layer - 1, n), format('s%s_%s', layer - 1, (n + 1) % 50)) end)))
  from generate_series(1, 40) layer, generate_series(0, 49) n));
select pgflow.run_flow('scale_dag') as run \gset
select t.work('scale_dag');
select status, (select count(*) from jsonb_object_keys(output)) as leaves from t.run(:'run');
select status, count(*) from t.tasks(:'run') group by 1;

-- A map of 100,000 elements.
call t.flow('scale_map', '[{"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('scale_map', (select jsonb_agg(n) from generate_series(1, 100000) n)) as run \gset
select t.work('scale_map');
select status, output = jsonb_build_object('m', payload) as same from pgflow.runs where run_id = :'run';

-- A cycle of 2,000 steps is found, and a chain of as many is none.
select length(t.error(format('select pgflow.define_flow(%L)', jsonb_build_object('flow_slug', 'scale_cycle', 'steps', jsonb_agg(
  jsonb_build_object('step_slug', 's' || n, 'deps_slugs', jsonb_build_array('s' || (n + 1) % 2000))))))) > 0 as refused
from generate_series(0, 1999) n;
select changed from pgflow.define_flow((select jsonb_build_object('flow_slug', 'scale_line', 'steps', jsonb_agg(
  jsonb_build_object('step_slug', 's' || n, 'deps_slugs', case n when 1 then '[]'::jsonb else jsonb_build_array('s' || n - 1) end)))
  from generate_series(1, 2000) n));
select * from pgflow.check_integrity();
select pgflow.delete_flow(flow_slug, true) from pgflow.flows where flow_slug like 'scale%';
