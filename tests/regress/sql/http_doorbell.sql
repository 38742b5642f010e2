-- With pgflow.http_transport = 'pg_net' the transaction that makes an HTTP task ready hands it to its endpoint through
-- net.http_post. Here is a stand-in with the signature of pg_net's, which keeps what it is asked for in a table; it
-- belongs to an extension of that name.
\set VERBOSITY terse
create schema net;
create table net.queue (id serial, url text, body jsonb, params jsonb, headers jsonb, timeout_milliseconds int, who text, path text);
create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}',
                              headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds int default 5000)
returns bigint language plpgsql as $$
declare
  number bigint;
begin
  if body->'input'->'run' ? 'refuse' then
    raise exception 'no such luck';
  end if;
  insert into net.queue (url, body, params, headers, timeout_milliseconds, who, path)
  values (url, body, params, headers, timeout_milliseconds, current_user, current_setting('search_path')) returning id into number;
  -- What it leaves behind does not stay.
  perform set_config('search_path', 'elsewhere', false);
  return number;
end $$;
create function t.adopt(function text) returns void language plpgsql as $$
begin
  if not exists (select from pg_extension where extname = 'pg_net') then
    set local allow_system_table_mods = on;
    insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    select 987654, 'pg_net', n.nspowner, n.oid, false, '0' from pg_namespace n where n.nspname = 'net';
  end if;
  execute format('alter extension pg_net add function %s', function);
end $$;
-- What was asked for since the last time.
create function t.rings() returns table (url text, step text, index int, attempt int, input jsonb) language sql as $$
  with taken as (delete from net.queue returning *)
  select url, body->>'step_slug', (body->>'task_index')::int, (body->>'attempt')::int, body->'input' from taken order by id
$$;
-- What an endpoint does with what it was handed.
create function t.answer(run uuid, output jsonb default '"done"') returns setof boolean language sql as $$
  select (pgflow.complete_step_task(run, q.body->>'step_slug', output, (q.body->>'task_index')::int, (q.body->>'lease')::bigint)).accepted
  from net.queue q where q.body->>'run_id' = run::text and (q.body->>'lease')::bigint in (
    select l.lease from pgflow.live_tasks l where l.run_id = run)
  order by q.id
$$;
call t.flow('ring', '[{"step_slug": "a", "executor": "http", "target": "https://example.com/a?b=c", "timeout": 7},
                      {"step_slug": "b", "executor": "http", "target": "http://other.example.com:8080/b", "deps_slugs": ["a"]}]', '{"base_delay": 1, "max_attempts": 2}');
set pgflow.http_allowed_hosts = 'example.com, *.example.com';

-- Off, nothing happens.
select pgflow.run_flow('ring', '{"n": 0}') as run \gset
select t.adopt('net.http_post');
select count(*) from net.queue;
select status, worker_id from pgflow.step_tasks where run_id = :'run';
select (pgflow.cancel_run(:'run')).status;

-- On, the run, the lease and the request are one transaction.
set pgflow.http_transport = 'pg_net';
begin;
select pgflow.run_flow('ring', '{"n": 1}') as run \gset
rollback;
select count(*) from net.queue;
begin;
select pgflow.run_flow('ring', '{"n": 1}') as run \gset
commit;
select url, body - '{run_id,lease,lease_expires_at}'::text[] as body, params, timeout_milliseconds, who = current_user as who, path from net.queue;
select key, case key when 'traceparent' then regexp_replace(value, '[0-9a-f]', 'x', 'g') when 'webhook-timestamp' then 'now'
  else replace(value, :'run', '<run>') end from net.queue, jsonb_each_text(headers) order by 1;
select q.body->>'run_id' = :'run' as run, l.status, l.lease = (q.body->>'lease')::bigint as lease, l.lease_expires_at = (q.body->>'lease_expires_at')::timestamptz as expires,
  l.lease_expires_at - h.started_at as lasts, h.status, h.worker_id
from net.queue q, pgflow.live_tasks l join pgflow.step_tasks h using (run_id, step_slug, task_index, attempt) where run_id = :'run';
show search_path;

-- The endpoint completes it, which rings for the next step; and so on.
select t.answer(:'run');
select * from t.rings();
select pgflow.complete_step_task(:'run', 'b', '"done"', lease => l.lease) is not null from pgflow.live_tasks l where run_id = :'run';
select * from t.run(:'run');

-- A lost ring is rung again when its lease ran out: by a claim from the queue, by upkeep. The last one ends the run.
select pgflow.run_flow('ring', '{"n": 2}') as run \gset
select * from t.rings();
select count(*) from t.claim('ring');
select * from t.rings();
update pgflow.live_tasks set lease_expires_at = clock_timestamp() where run_id = :'run';
select count(*) from t.claim('ring');
select * from t.rings();
update pgflow.live_tasks set lease_expires_at = clock_timestamp() where run_id = :'run';
select pgflow.run_upkeep() \g /dev/null
select * from t.rings();
select * from t.run(:'run');

-- A failed attempt is rung again when it falls due, by upkeep.
select pgflow.run_flow('ring', '{"n": 3}') as run \gset
select (pgflow.fail_step_task(:'run', 'a', 'not now', lease => (body->>'lease')::bigint)).task_status from net.queue;
select * from t.rings();
select pgflow.run_upkeep() > clock_timestamp();
select * from t.rings();
update pgflow.live_tasks set ready_at = clock_timestamp() where flow_slug in ('ring', 'later');
select pgflow.run_upkeep() \g /dev/null
select * from t.rings();
select (pgflow.cancel_run(:'run')).status;

-- So is what was delayed, and a run that starts later.
call t.flow('later', '[{"step_slug": "a", "executor": "http", "target": "https://example.com/", "start_delay": 100}]');
select pgflow.run_flow('later') as run, pgflow.run_flow('ring', start_at => now() + interval '1 hour') as other \gset
select pgflow.run_upkeep() \g /dev/null
select * from t.rings();
update pgflow.live_tasks set ready_at = clock_timestamp() where flow_slug in ('ring', 'later');
select pgflow.run_upkeep() \g /dev/null
select * from t.rings();
select status from pgflow.runs where run_id in (:'run', :'other');
select (pgflow.cancel_run(:'run')).status, (pgflow.cancel_run(:'other')).status;

-- What became ready while the transport was off waits for the next look.
reset pgflow.http_transport;
select pgflow.run_flow('ring', '{"n": 4}') as run \gset
set pgflow.http_transport = 'pg_net';
select * from t.rings();
select pgflow.run_upkeep() \g /dev/null
select * from t.rings();
select (pgflow.cancel_run(:'run')).status;

-- A host that is not allowed and what is no URL are not called, and fail for good.
set pgflow.http_allowed_hosts = 'example.com';
call t.flow('elsewhere', '[{"step_slug": "a", "executor": "http", "target": "https://evil.example.net/"}]');
select pgflow.run_flow('elsewhere') as run \gset
select * from t.rings();
select * from t.run(:'run');
-- An address is checked only where it is written in the URL.
call t.flow('inside', '[{"step_slug": "a", "executor": "http", "target": "http://169.254.169.254/latest"}]');
set pgflow.http_allowed_hosts = '*';
select pgflow.run_flow('inside') as run \gset
select * from t.rings();
select * from t.run(:'run');
set pgflow.http_allowed_hosts = 'example.com, *.example.com';

-- A request that cannot be made fails its attempt and nothing else: neither the transaction nor the other requests.
begin;
create table t.kept as select 1 as n;
select pgflow.run_flow('ring', '{"refuse": 1}') as bad, pgflow.run_flow('ring', '{"n": 5}') as good \gset
commit;
select * from t.rings();
select status, error_message from pgflow.step_tasks where run_id = :'bad' order by attempt;
select status from pgflow.step_tasks where run_id = :'good';
select * from t.kept;
drop table t.kept;
update pgflow.live_tasks set ready_at = clock_timestamp() where run_id = :'bad';
select pgflow.run_upkeep() \g /dev/null
select * from t.run(:'bad');
select (pgflow.cancel_run(:'good')).status;

-- A map is rung for a part at a time; the limits of the queue hold.
call t.flow('wide', '[{"step_slug": "m", "executor": "http", "target": "https://example.com/", "step_type": "map"}]');
select pgflow.run_flow('wide', (select jsonb_agg(n) from generate_series(1, 250) n)) as run \gset
select count(*) from net.queue;
select count(*) from t.answer(:'run');
select count(*) from net.queue;
select count(*) from t.answer(:'run');
select status from t.run(:'run');
delete from net.queue;
select max_running from pgflow.limit_queue('wide', max_running => 2);
select pgflow.run_flow('wide', '[1, 2, 3, 4, 5]') as run \gset
select * from t.rings();
select (pgflow.complete_step_task(:'run', 'm', '1', l.task_index, l.lease)).accepted from pgflow.live_tasks l where run_id = :'run' and lease is not null limit 1;
select * from t.rings();
select pgflow.pause_queue('wide');
select max_running from pgflow.limit_queue('wide');
select * from t.rings();
select pgflow.resume_queue('wide');
select * from t.rings();
select (pgflow.cancel_run(:'run')).status;

-- In a transaction that sees one state of the tables, and with a flow of other executors around it.
call t.flow('mixed', '[{"step_slug": "w"}, {"step_slug": "h", "executor": "http", "target": "https://example.com/", "deps_slugs": ["w"]}]');
begin isolation level repeatable read;
select pgflow.run_flow('mixed') as run \gset
select count(*) from t.claim('mixed');
select (pgflow.complete_step_task(:'run', 'w', '1')).accepted;
commit;
select * from t.rings();
begin isolation level serializable;
select (pgflow.complete_step_task(:'run', 'h', '2')).run_status;
select pgflow.run_flow('ring', '{"n": 6}') as run \gset
commit;
select * from t.rings();
-- It is written down who has it.
select worker_id from pgflow.step_tasks where run_id = :'run';
select (pgflow.cancel_run(:'run')).status;

-- It is signed like any other.
select pgflow.set_http_secrets(array['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'], 'ring');
select pgflow.run_flow('ring', '{"ü": [1.50, null]}') as run \gset
select headers->>'webhook-signature' like 'v1,%' from net.queue;
select pgflow.set_http_secrets('{}', 'ring');
delete from net.queue;
select (pgflow.cancel_run(:'run')).status;

-- The caller's names do not matter to it: neither its search_path nor what it has set.
create role ring_client;
select pgflow.grant_access('ring_client', 'client'), pgflow.grant_run('ring', 'ring_client') \g /dev/null
create schema ring_evil authorization ring_client;
set role ring_client;
create function ring_evil.current_setting(text) returns text language plpgsql as $$ begin raise notice 'evil runs as %', current_user; return 'evil'; end $$;
create function ring_evil.equal(uuid, uuid) returns boolean language plpgsql as $$ begin raise notice 'evil compares as %', current_user; return true; end $$;
create operator ring_evil.= (function = ring_evil.equal, leftarg = uuid, rightarg = uuid);
set search_path = ring_evil, pg_catalog;
begin;
select pgflow.run_flow('ring', '{"n": 7}') as run \gset
set local search_path = ring_evil, pg_catalog;
commit;
reset search_path;
reset role;
select who = current_user as who, path from net.queue;
select * from t.rings();
select (pgflow.cancel_run(:'run')).status;

-- Who is not pg_net is handed nothing, whatever it is called: tasks wait, and the client is told.
alter extension pg_net drop function net.http_post;
select pgflow.run_flow('ring', '{"n": 8}') as run \gset
select * from t.rings();
select status from pgflow.step_tasks where run_id = :'run';
select pgflow.run_upkeep() \g /dev/null
alter extension pg_net add function net.http_post;
alter function net.http_post owner to ring_client;
-- It runs as its owner, who may not write the table: that attempt fails.
select pgflow.run_upkeep() \g /dev/null
select status, error_message from pgflow.step_tasks where run_id = :'run' order by attempt;
select * from t.rings();
grant usage on schema net to ring_client;
grant all on all tables in schema net to ring_client;
grant all on all sequences in schema net to ring_client;
update pgflow.live_tasks set ready_at = clock_timestamp() where run_id = :'run';
select pgflow.run_upkeep() \g /dev/null
select who, path from net.queue;
select * from t.rings();
select (pgflow.cancel_run(:'run')).status;

-- Nor may it do more than a security-restricted operation, or stay beyond the call.
create or replace function net.http_post(url text, body jsonb default '{}', params jsonb default '{}',
                              headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds int default 5000)
returns bigint language plpgsql as $$
begin
  execute 'create temporary table planted (n int)';
  return 1;
end $$;
select pgflow.run_flow('ring', '{"n": 9}') as run \gset
select status, error_message from pgflow.step_tasks where run_id = :'run' order by attempt;
select (pgflow.cancel_run(:'run')).status;
select * from pgflow.check_integrity();

select pgflow.delete_flow(flow_slug, true) from unnest('{ring,later,elsewhere,inside,wide,mixed}'::text[]) flow_slug \g /dev/null
reset pgflow.http_transport;
reset pgflow.http_allowed_hosts;
drop extension pg_net cascade;
drop schema net cascade;
select pgflow.revoke_access('ring_client', 'client') \g /dev/null
drop owned by ring_client;
drop role ring_client;
drop function t.adopt(text), t.rings(), t.answer(uuid, jsonb);
