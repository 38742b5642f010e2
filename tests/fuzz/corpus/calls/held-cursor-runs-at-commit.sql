begin;
declare c cursor with hold for select pgflow.claim_step_tasks('fuzz_map', 3);
declare d cursor with hold for select pgflow.run_flow('no_such_flow');
commit;
close all;
begin;
declare c cursor with hold for select pgflow.run_flow('fuzz_chain');
commit;
close all;
