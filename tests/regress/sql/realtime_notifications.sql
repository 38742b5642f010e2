-- NOTIFY on channel pgflow_events, only while somebody holds the lock in share mode: here this session itself, and another
-- one that calls.
call t.flow('rt_notify', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
call t.flow('rt_quiet', '[{"step_slug": "a"}]');
select pgflow.set_realtime('rt_notify');
select pgflow_locks.events_key();
-- What arrives is printed behind the result of the statement, through a filter for ids and times.
\pset tuples_only on
\set heard '| sed -E "s/[0-9a-f]{8}-[0-9a-f-]{27}/<run>/g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}T[-0-9:.+]+/<time>/g; s/received from .*//; /^$/d" > rt_heard'
\o :heard
listen pgflow_events;
select 'nobody holds the lock';
select null from pgflow.run_flow('rt_notify');
select 'so nothing is heard';

select 'the lock is held' from pg_advisory_lock_shared(pgflow_locks.events_key());
select null from pgflow.run_flow('rt_notify');
select null from pgflow.run_flow('rt_quiet');
select t.work('rt_notify');
select 'each call has told all it changed';

select 'the changes of a transaction come together';
begin;
savepoint undone;
select null from pgflow.run_flow('rt_notify');
rollback to undone;
savepoint outer_one;
savepoint inner_one;
select pgflow.run_flow('rt_notify') as run \gset
release inner_one;
savepoint inner_two;
select null from pgflow.cancel_run(:'run');
rollback to inner_two;
release outer_one;
savepoint last;
select null from pgflow.run_flow('rt_notify');
rollback to last;
select null from pgflow.cancel_run(:'run', 'a secret');
commit;
select 'a rollback tells nothing';
begin;
select null from pgflow.run_flow('rt_notify');
rollback;
select 'nor an error';
select t.error($$do 'begin perform pgflow.run_flow(''rt_notify''); raise division_by_zero; end'$$);
select 'another session';
\setenv PGDATABASE :DBNAME
\! psql -Xq -c "select null from pgflow.run_flow('rt_notify')" >/dev/null
select pg_sleep(0.1);
select 'was heard';

select 'public: with outputs, if they fit';
select null from pgflow.set_realtime('rt_notify', private => false);
select pgflow.run_flow('rt_notify') as run \gset
select count(*) from t.claim('rt_notify', 5);
select accepted from pgflow.complete_step(:'run', 'a', to_jsonb(repeat('x', 100)));
select count(*) from t.claim('rt_notify', 5);
select accepted from pgflow.complete_step(:'run', 'b', to_jsonb(repeat('x', 8000)));
select 'done';

select 'no longer';
select pg_advisory_unlock_shared(pgflow_locks.events_key());
select null from pgflow.run_flow('rt_notify');
select 'silence';
\o
\pset tuples_only off
\! cat rt_heard

-- Many changes are told in as many notifications as it takes, none longer than PostgreSQL allows.
create table t.heard (payload text);
select count(pgflow.set_realtime('rt_wide')) from pgflow.define_flow(jsonb_build_object('flow_slug', 'rt_wide', 'steps',
  (select jsonb_agg(jsonb_build_object('step_slug', 's' || i)) from generate_series(1, 200) i)));
select pg_advisory_lock_shared(pgflow_locks.events_key()) \g /dev/null
\o | sed -nE 's/.*with payload "(.*)" received.*/\1/p' > rt_heard
select count(pgflow.run_flow('rt_wide')) from generate_series(1, 3);
\o
\copy t.heard from rt_heard
\! rm rt_heard
select pg_advisory_unlock_shared(pgflow_locks.events_key());
unlisten *;
select count(*) between 2 and 100 as several, max(octet_length(payload)) between 7000 and 7999 as full,
       sum(jsonb_array_length(payload::jsonb)) as changes
from t.heard;
select pgflow.delete_flow(flow_slug, true) from pgflow.flows where flow_slug like 'rt\_%' order by flow_slug;
drop table t.heard;
