begin;
declare c cursor for select pgflow.claim_step_tasks('fuzz_map', 9), pgflow.run_flows('fuzz_chain', array['1', '2']::jsonb[]);
fetch 1 from c;
savepoint s;
select pgflow.run_flow('no_such_flow');
rollback to s;
fetch 1 from c;
select 1 / (row_number() over () - 2) from pgflow.run_flows('fuzz_chain', array['1', '2']::jsonb[]);
rollback;
