\pset null <null>
select (pgflow.create_flow('add_step')).version;
-- The defaults.
select flow_slug, flow_version, step_slug, step_index, step_type, map_over, executor, target, queue, start_mode
from pgflow.add_step('add_step', 'a');
select max_attempts, base_delay, timeout, start_delay, required_input_pattern, forbidden_input_pattern, when_unmet, when_exhausted
from pgflow.steps where flow_slug = 'add_step' and step_slug = 'a';

-- The first twelve parameters keep their order.
select step_slug, step_index, max_attempts, base_delay, timeout, start_delay, step_type,
       required_input_pattern, forbidden_input_pattern, when_unmet, when_exhausted
from pgflow.add_step('add_step', 'b', '{a}', 1, 2, 3, 4, 'map', '{"x": 1}', '{"y": 2}', 'skip-cascade', 'skip');
select step_slug, executor, target, queue, start_mode, map_over
from pgflow.add_step('add_step', 'c', '{a,b}', step_type => 'map', map_over => 'b', executor => 'external', target => 'paid',
                     queue => 'elsewhere', start_mode => 'manual');
select from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'add_step' order by 2, 1;

-- Equal arguments: a no-op; the order of deps is no difference. Others: a change, of deps too.
select xmin as before from pgflow.steps where flow_slug = 'add_step' and step_slug = 'a' \gset
select step_index from pgflow.add_step('add_step', 'a');
select xmin = :'before' as untouched from pgflow.steps where flow_slug = 'add_step' and step_slug = 'a';
select step_index, max_attempts from pgflow.add_step('add_step', 'a', max_attempts => 9);
select step_index, executor from pgflow.add_step('add_step', 'c', '{b}');
select from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'add_step' order by 2, 1;
select version from pgflow.flows where flow_slug = 'add_step';

-- What it refuses.
call t.fails($$select pgflow.add_step(null, 'x')$$);
call t.fails($$select pgflow.add_step('add_step', null)$$);
call t.fails($$select pgflow.add_step('add_step_unknown', 'x')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', '{a,nothing}')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', '{a,a}')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', array[null])$$);
call t.fails($$select pgflow.add_step('add_step', 'x', step_type => 'list')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', executor => 'magic')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', start_mode => 'late')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', when_unmet => 'explode')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', when_exhausted => 'explode')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', max_attempts => 0)$$);
call t.fails($$select pgflow.add_step('add_step', 'x', base_delay => -1)$$);
call t.fails($$select pgflow.add_step('add_step', 'x', timeout => -1)$$);
call t.fails($$select pgflow.add_step('add_step', 'x', start_delay => -1)$$);
call t.fails($$select pgflow.add_step('add_step', 'x', required_input_pattern => '[1]')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', forbidden_input_pattern => 'null')$$);

-- A map has a root's payload, its only dep, or the dep that map_over names.
call t.fails($$select pgflow.add_step('add_step', 'x', '{a,b}', step_type => 'map')$$);
call t.fails($$select pgflow.add_step('add_step', 'x', '{a,b}', step_type => 'map', map_over => 'c')$$);
select step_slug from pgflow.add_step('add_step', 'd', '{a,b}', step_type => 'map', map_over => 'a');

-- A step may not wait for itself, not even along a way.
call t.fails($$select pgflow.add_step('add_step', 'a', '{a}')$$);
call t.fails($$select pgflow.add_step('add_step', 'a', '{c}')$$);
select step_slug, step_index from pgflow.steps where flow_slug = 'add_step' order by step_index;
select from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'add_step' order by 2, 1;
