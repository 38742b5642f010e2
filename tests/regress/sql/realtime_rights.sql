-- realtime.send is code of others: it gets no rights but its owner's, and only a superuser can have it called at all.
create role rt_author;
create role rt_planter;
create role rt_sender;
grant usage on schema t to rt_author, rt_planter;
select pgflow.grant_access(role, capability) from (values ('rt_author'), ('rt_planter')) r(role), (values ('author'), ('client')) c(capability);
grant usage on schema pgflow to rt_sender;
select format('grant create on database %I to rt_planter', current_database()) \gexec

-- Whose flow it is, says whether it is published.
set role rt_author;
select (pgflow.create_flow('rt_own')).owner, (pgflow.add_step('rt_own', 'a')).step_slug;
set role rt_planter;
call t.fails($$select pgflow.set_realtime('rt_own')$$);
call t.fails($$select pgflow.set_realtime('rt_own', false)$$);
set role rt_author;
select pgflow.set_realtime('rt_own');
reset role;

-- A planted schema: its function is not called, with whosever rights.
set role rt_planter;
create schema realtime;
create table realtime.loot (what text);
create function realtime.send(payload jsonb, event text, topic text, private boolean) returns void
language plpgsql as $$ begin insert into realtime.loot values (current_user || event || payload); end $$;
reset role;
select pgflow.run_flow('rt_own') is not null as runs;
select count(*) from realtime.loot;
set client_min_messages = warning;
drop schema realtime cascade;
reset client_min_messages;

-- In a superuser's schema it runs as its owner, who is not the extension's, and gets nothing more.
create schema realtime;
grant create, usage on schema realtime to rt_sender;
set role rt_sender;
create table realtime.messages (event text, ran_as name, tables boolean, refusals text[]);
create table realtime.later (event text);
create function realtime.later() returns trigger language plpgsql as $$ begin return null; end $$;
create constraint trigger later after insert on realtime.later deferrable initially deferred
  for each row execute function realtime.later();
create function realtime.attempt(command text) returns text language plpgsql as $$
begin
  execute command;
  return 'done';
exception when others then
  return sqlstate || ' ' || sqlerrm;
end $$;
create function realtime.send(payload jsonb, event text, topic text, private boolean) returns void
language plpgsql as $$
begin
  insert into realtime.messages values (event, current_user, has_table_privilege('pgflow.runs', 'select'), array[
    realtime.attempt('reset role'), realtime.attempt('set session authorization default'),
    realtime.attempt('create temp table tt (a int)'), realtime.attempt('insert into realtime.later values (1)'),
    realtime.attempt('select count(*) from pgflow.runs')]);
end $$;
reset role;
select pgflow.run_flow('rt_own') is not null as runs;
select event, ran_as, tables from realtime.messages;
select distinct r.n, r.refusal from realtime.messages, unnest(refusals) with ordinality r(refusal, n) order by r.n;
select current_user = session_user as same;
-- The same when the caller is nobody in particular, and inside a transaction that goes on.
truncate realtime.messages;
set role rt_author;
begin;
select pgflow.run_flow('rt_own') is not null as runs;
select current_user;
commit;
reset role;
select event, ran_as from realtime.messages;
set client_min_messages = warning;
drop schema realtime cascade;
reset client_min_messages;

set client_min_messages = error;
-- The policy of docs/realtime.md: users watch the private topics of the runs that were started for them, and no others.
create role rt_authenticated;
create schema realtime;
create schema auth;
grant usage on schema realtime, auth to rt_authenticated;
create table realtime.messages (topic text, extension text);
alter table realtime.messages enable row level security;
grant select on realtime.messages to rt_authenticated;
create function realtime.topic() returns text language sql stable as $$ select nullif(current_setting('realtime.topic', true), '') $$;
create function auth.uid() returns uuid language sql stable as $$ select nullif(current_setting('rt.sub', true), '')::uuid $$;
create function public.may_watch(topic text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from pgflow.runs r
    where r.created_for = (select auth.uid())::text
      and r.run_id = case when topic ~ '^pgflow:run:[0-9a-f-]{36}$' then substr(topic, 12)::uuid end)
$$;
revoke all on function public.may_watch from public;
grant execute on function public.may_watch to rt_authenticated;
create policy "who started a run may watch it" on realtime.messages for select to rt_authenticated
using (realtime.messages.extension = 'broadcast' and public.may_watch((select realtime.topic())));
select pgflow.run_flow('rt_own') as mine, pgflow.run_flow('rt_own') as others, gen_random_uuid() as me \gset
update pgflow.runs set created_for = :'me' where run_id = :'mine';
update pgflow.runs set created_for = gen_random_uuid() where run_id = :'others';
-- Realtime puts a row there and looks whether the user sees it.
insert into realtime.messages values ('any', 'broadcast'), ('any', 'presence');
set role rt_authenticated;
set rt.sub = :'me';
select set_config('realtime.topic', 'pgflow:run:' || :'mine', false) \g /dev/null
select * from realtime.messages;
select set_config('realtime.topic', 'pgflow:run:' || :'others', false) \g /dev/null
select * from realtime.messages;
select set_config('realtime.topic', 'pgflow:run:' || repeat('-', 35) || 'x', false) \g /dev/null
select * from realtime.messages;
reset rt.sub;
select set_config('realtime.topic', 'pgflow:run:' || :'mine', false) \g /dev/null
select * from realtime.messages;
reset role;
set client_min_messages = error;
drop schema realtime, auth cascade;
drop function public.may_watch;
drop role rt_authenticated;

-- A publication: an operator who owns it may have it say where runs stand.
select pgflow.grant_access('rt_planter', 'operator') \g /dev/null
create publication rt_super;
set role rt_planter;
create publication rt_own;
set client_min_messages = notice;
call t.fails($$select pgflow.publish('rt_super')$$);
call t.fails($$select pgflow.publish('rt_nowhere')$$);
call t.fails($$select pgflow.publish(null)$$);
set client_min_messages = error;
select pgflow.publish('rt_own');
select pgflow.publish('rt_own');
reset role;
select tablename from pg_publication_tables where pubname = 'rt_own' order by 1;
select pgflow.publish('rt_own', with_tasks => true);
select tablename from pg_publication_tables where pubname = 'rt_own' order by 1;
create publication rt_all for all tables;
select pgflow.publish('rt_all');
create publication "rt odd"";--";
select pgflow.publish('rt odd";--');
select tablename from pg_publication_tables where pubname = 'rt odd";--' order by 1;
reset client_min_messages;
-- Changes are found by the primary keys.
select relname, relreplident from pg_class where oid in ('pgflow.runs'::regclass, 'pgflow.step_states'::regclass, 'pgflow.step_tasks'::regclass) order by 1;
drop publication rt_super, rt_own, rt_all, "rt odd"";--";

select pgflow.delete_flow('rt_own', true);
select pgflow.revoke_access(role, capability) from (values ('rt_author'), ('rt_planter')) r(role), (values ('author'), ('client')) c(capability);
select pgflow.revoke_access('rt_planter', 'operator') \g /dev/null
revoke all on schema pgflow, t from rt_author, rt_planter, rt_sender;
select format('revoke all on database %I from rt_planter', current_database()) \gexec
drop role rt_author, rt_planter, rt_sender;
