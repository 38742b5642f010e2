\pset null <null>
-- Behind an API gateway a client sees the runs of its user alone: created by its role, and for the sub claim of the request.
create role regress_gateway noinherit;
create role regress_web;
create role regress_anon;
create role regress_staff;
create role regress_impostor in role regress_web;
grant regress_web, regress_anon, regress_staff to regress_gateway;
grant usage on schema t to regress_gateway, regress_web, regress_anon, regress_staff;
select pgflow.grant_access('regress_web', 'client'), pgflow.grant_access('regress_anon', 'client'), pgflow.grant_access('regress_staff', 'operator');
insert into pgflow.gateway_roles values ('regress_gateway');
call t.flow('web', '[{"step_slug": "only"}]');
select pgflow.grant_run('web', 'regress_web'), pgflow.grant_run('web', 'regress_anon');
create function t.sees() returns table (payload jsonb, states bigint, tasks bigint) language sql as $$
  select r.payload, (select count(*) from pgflow.step_states s where s.run_id = r.run_id), (select count(*) from pgflow.step_tasks s where s.run_id = r.run_id)
  from pgflow.runs r where r.flow_slug = 'web' order by r.run_id
$$;

set session authorization regress_gateway;
set role regress_web;
set request.jwt.claims = '{"sub": "ann", "role": "regress_web"}';
select pgflow.run_flow('web', '"ann"') as anns \gset
set request.jwt.claims = '{"sub": "bob", "role": "regress_web"}';
select pgflow.run_flow('web', '"bob"') as bobs \gset
set request.jwt.claims = '{"role": "regress_web"}';
select pgflow.run_flow('web', '"nobody"') as nobodys \gset
reset role;
reset session authorization;
select payload, created_by, created_for from pgflow.runs where flow_slug = 'web' order by run_id;

-- An event that is kept completes what its sender could complete: of a token without a user nobody could say that later, so
-- it is not kept; and however many there are that may not, the one that may is found.
call t.flow('web_event', '[{"step_slug": "paid", "executor": "external", "target": "paid"}]');
select pgflow.grant_run('web_event', 'regress_web'), pgflow.grant_step('web_event', 'paid', 'regress_web');
set session authorization regress_gateway;
set role regress_web;
set request.jwt.claims = '{"role": "regress_web"}';
select pgflow.send_event('paid', '"nobody"', 'k');
set request.jwt.claims = '{"sub": "bob"}';
select sum(pgflow.send_event('paid', '"bob"', 'k')) from generate_series(1, 200);
set request.jwt.claims = '{"sub": "ann"}';
select pgflow.run_flow('web_event', key => 'k') as waits \gset
select pgflow.get_run(:'waits') #>> '{steps,0,status}' as status;
select pgflow.send_event('paid', '"ann"', 'k2');
select pgflow.run_flow('web_event', key => 'k2') as finds \gset
select pgflow.get_run(:'finds') #>> '{steps,0,output}' as output;
-- Claims that no token has.
set request.jwt.claims = '{"sub": 1e999999999}';
call t.fails($$select pgflow.run_flow('web')$$);
select set_config('request.jwt.claims', jsonb_build_object('sub', repeat('ä', 513))::text, false) \g /dev/null
call t.fails($$select pgflow.run_flow('web')$$);
reset request.jwt.claims;
reset role;
reset session authorization;
select count(*), min(sent_for), max(sent_for) from pgflow.events where name = 'paid';
select pgflow.delete_flow('web_event', true);
delete from pgflow.events where name = 'paid';

-- Each user sees their own; who is no user sees none.
set session authorization regress_gateway;
set role regress_web;
set request.jwt.claims = '{"sub": "ann"}';
select * from t.sees();
select t.sqlstate('select pgflow.get_run($1)', :'anns') as anns, t.sqlstate('select pgflow.get_run($1)', :'bobs') as bobs, t.sqlstate('select pgflow.get_run($1)', :'nobodys') as nobodys;
call t.fails('select pgflow.get_run($1)', :'bobs');
set request.jwt.claims = '{"sub": "bob"}';
select * from t.sees();
set request.jwt.claims = '{"sub": null}';
select * from t.sees();
select t.sqlstate('select pgflow.get_run($1)', :'nobodys');
set request.jwt.claims = '';
select * from t.sees();
reset request.jwt.claims;
select * from t.sees();
select t.sqlstate('select pgflow.get_run($1)', :'nobodys');
set request.jwt.claims = 'ann';
call t.fails('select * from t.sees()');
call t.fails('select pgflow.get_run($1)', :'anns');
set request.jwt.claims = '["sub", "ann"]';
select * from t.sees();
-- Another role with the same sub is another creator.
set role regress_anon;
set request.jwt.claims = '{"sub": "ann"}';
select * from t.sees();
select t.sqlstate('select pgflow.get_run($1)', :'anns');
-- An operator sees all, whoever it is.
set role regress_staff;
select * from t.sees();
select t.sqlstate('select pgflow.get_run($1)', :'bobs');
reset role;
reset session authorization;

-- A step that was granted to their role each completes in their own runs; in those of other roles all of them may.
call t.flow('asks', '[{"step_slug": "ok", "executor": "external", "target": "okay"}]');
select pgflow.grant_run('asks', 'regress_web'), pgflow.grant_step('asks', 'ok', 'regress_web'), pgflow.grant_step('asks', 'ok', 'regress_anon');
set session authorization regress_gateway;
set role regress_web;
set request.jwt.claims = '{"sub": "ann"}';
select pgflow.run_flow('asks', key => 'k') as asks \gset
select pgflow.run_flow('asks', key => 'other') as other \gset
set request.jwt.claims = '{"sub": "bob"}';
call t.fails($$select pgflow.complete_step($1, 'ok')$$, :'asks');
select pgflow.send_event('okay', '"bob"', 'k') as completed;
reset request.jwt.claims;
call t.fails($$select pgflow.complete_step($1, 'ok')$$, :'asks');
select pgflow.send_event('okay', '"nobody"', 'k') as completed;
set request.jwt.claims = '{"sub": "bob"}';
select pgflow.send_event('okay', '"bob, kept"', 'kept') as completed;
set request.jwt.claims = '{"sub": "ann"}';
select pgflow.run_flow('asks', key => 'kept') as kept \gset
select status, output from pgflow.step_states where run_id = :'kept';
select pgflow.send_event('okay', '"ann"', 'kept') as completed;
select accepted from pgflow.complete_step(:'asks', 'ok');
set role regress_anon;
set request.jwt.claims = '{"sub": "eve"}';
call t.fails($$select pgflow.get_run($1)$$, :'other');
select accepted from pgflow.complete_step(:'other', 'ok', '"approved"');
reset role;
reset session authorization;
delete from pgflow.events;
select pgflow.delete_flow('asks', true);

-- Claims of anybody else count for nothing: a role that logs in by itself sees the runs of its role, whatever it sets.
set session authorization regress_web;
set request.jwt.claims = '{"sub": "bob"}';
select count(*) from t.sees();
select pgflow.run_flow('web', '"direct"') as direct \gset
select pgflow.on_behalf_of(), pgflow.seen_creators();
reset session authorization;
select created_for from pgflow.runs where run_id = :'direct';
set session authorization regress_anon;
set request.jwt.claims = '{"sub": "bob", "role": "regress_web"}';
set role regress_web;
select * from t.sees();
-- Nor is a setting that looks like one of pgflow's asked for anything.
call t.fails($$set pgflow.role = 'regress_web'$$);
call t.fails($$select set_config('pgflow.sub', 'bob', false)$$);
call t.fails($$insert into pgflow.gateway_roles values ('regress_anon')$$);
call t.fails($$select * from pgflow.gateway_roles$$);
reset session authorization;
set session authorization regress_impostor;
set request.jwt.claims = '{"sub": "bob"}';
select count(*) from t.sees();
reset session authorization;
-- Who logs in as the gateway and takes no role has no rights.
set session authorization regress_gateway;
set request.jwt.claims = '{"sub": "bob"}';
call t.fails('select count(*) from pgflow.runs');
call t.fails('select pgflow.get_run($1)', :'bobs');
reset session authorization;

reset request.jwt.claims;
delete from pgflow.gateway_roles where role_name = 'regress_gateway';
select pgflow.delete_flow('web', true);
select pgflow.revoke_access(role_name, capability) from pgflow.access_grants;
drop function t.sees();
revoke usage on schema t from regress_gateway, regress_web, regress_anon, regress_staff;
drop role regress_gateway, regress_impostor, regress_web, regress_anon, regress_staff;
