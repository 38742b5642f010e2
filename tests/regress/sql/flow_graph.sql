\pset null <null>
call t.flow('graph', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"], "step_type": "map"}]');
select pgflow.run_flow('graph', '[]') as run \gset
select (pgflow.add_step('graph', 'c', '{a,b}')).step_index;

-- The latest version, or the one asked for.
select g -> 'flow_slug' as flow_slug, g -> 'version' as version, jsonb_path_query_array(g, '$.steps[*].step_slug') as steps,
       g -> 'deps' as deps
from pgflow.flow_graph('graph') g;
select g -> 'version' as version, jsonb_path_query_array(g, '$.steps[*].step_slug') as steps, g -> 'deps' as deps
from pgflow.flow_graph('graph', 1) g;
select pgflow.flow_graph('graph') ?& '{flow_slug,version,steps,deps}' as complete;
select g -> 'steps' -> 1 ->> 'step_type' as step_type from pgflow.flow_graph('graph') g;
select (pgflow.create_flow('graph_empty')).version;
select g -> 'steps' as steps, g -> 'deps' as deps from pgflow.flow_graph('graph_empty') g;

call t.fails($$select pgflow.flow_graph(null)$$);
call t.fails($$select pgflow.flow_graph('graph_unknown')$$);
call t.fails($$select pgflow.flow_graph('graph', 3)$$);

-- It only reads.
begin read only;
select pgflow.flow_graph('graph') ->> 'version';
commit;
