-- A claim whose plan was made while no queue had any task, and ANALYZE knew it, looks tasks up by key all the same.
call t.flow('statistics', '[{"step_slug": "m", "step_type": "map"}]');
analyze pgflow.live_tasks;
\c -
select count(*) from pgflow.claim_step_tasks('statistics');
select pgflow.run_flow('statistics', (select jsonb_agg(n) from generate_series(1, 2000) n)) as run \gset
-- Nor does it matter what the caller has switched off.
create function t.reads() returns table (tables bigint, tasks bigint, attempts bigint) language sql as $$
  select pg_stat_get_xact_numscans('pgflow.live_tasks'::regclass) + pg_stat_get_xact_numscans('pgflow.step_tasks'::regclass),
         pg_stat_get_xact_tuples_returned('pgflow."a live task is known by its run, step and index"'::regclass),
         pg_stat_get_xact_tuples_returned('pgflow."an attempt is known by its task and number"'::regclass)
$$;
set enable_tidscan = off;
set enable_indexscan = off;
begin;
select * from t.reads() \gset before_
select jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index, 'lease', lease)) as results
from pgflow.claim_step_tasks('statistics', 100) \gset
select tables - :before_tables as tables_scanned, attempts - :before_attempts between 100 and 200 as by_key from t.reads();
select count(*) from pgflow.settle_step_tasks(:'results') where accepted;
select tables - :before_tables as tables_scanned, tasks - :before_tasks between 100 and 400 and attempts - :before_attempts between 200 and 400 as by_key from t.reads();
rollback;
reset enable_tidscan;
reset enable_indexscan;
-- Other queries are planned as ever.
explain (costs off) select count(*) from pgflow.flow_versions;
select status from pgflow.cancel_run(:'run');
