select pgflow.run_flows('fuzz_chain', array[array['1', '2'], array['3', '4']]::jsonb[], array[array['a', null], array[null, 'b']]);
select pgflow.run_flows('fuzz_chain', '[5:6]={1,2}'::jsonb[], '[-1:0]={c,null}'::text[]);
select pgflow.run_flows('fuzz_chain', '{null}'::jsonb[], '{null}'::text[]);
select pgflow.add_step('fuzz_nothing', 'x', array[array['a'], array['b']]);
select pgflow.fork_run(run_id, array[array['a'], array[null]]) from pgflow.runs where status = 'cancelled' limit 1;
