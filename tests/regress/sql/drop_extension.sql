\pset null <null>
-- DROP EXTENSION leaves nothing behind, and CREATE EXTENSION works again in the same session.
set client_min_messages = warning;
drop schema t cascade;
drop extension pgflow;
reset client_min_messages;
select nspname from pg_namespace where nspname like 'pgflow%';
select proname from pg_proc where prosrc like '%pgflow%' or probin like '%pgflow%';
select count(*) from pg_class where relname in ('flows', 'runs', 'live_tasks');
create extension pgflow;
select (pgflow.create_flow('again')).version, (pgflow.add_step('again', 'a')).step_index;
select pgflow.run_flow('again') as run \gset
select step_slug from pgflow.claim_step_tasks('again');
select accepted, run_status from pgflow.complete_step_task(:'run', 'a', '1');
drop extension pgflow;
