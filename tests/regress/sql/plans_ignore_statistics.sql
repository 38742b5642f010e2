-- A claim whose plan was made while no queue had any task, and ANALYZE knew it, looks tasks up by key all the same.
call t.flow('statistics', '[{"step_slug": "m", "step_type": "map"}]');
analyze pgflow.live_tasks;
\c -
select count(*) from pgflow.claim_step_tasks('statistics');
select pgflow.run_flow('statistics', (select jsonb_agg(n) from generate_series(1, 2000) n)) as run \gset
begin;
select pg_stat_get_xact_tuples_returned('pgflow."a live task is known by its run, step and index"'::regclass) as before \gset
select count(*) from pgflow.claim_step_tasks('statistics', 100);
select pg_stat_get_xact_tuples_returned('pgflow."a live task is known by its run, step and index"'::regclass) - :before <= 200 as by_key;
rollback;
-- Other queries are planned as ever.
explain (costs off) select count(*) from pgflow.flow_versions;
select status from pgflow.cancel_run(:'run');
