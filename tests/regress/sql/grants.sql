\pset null <null>
-- Who may grant what, and what PostgreSQL itself lets a role do then.
create role regress_author;
create role regress_operator;
create role regress_client;
create role regress_heir in role regress_client;
grant usage on schema t to regress_author, regress_operator, regress_client, regress_heir;
select pgflow.grant_access('regress_author', 'author'), pgflow.grant_access('regress_operator', 'operator');
select role_name, capability, granted_by = session_user as by_me from pgflow.access_grants order by 1;

-- Capabilities: superusers and the extension's owner.
create function t.tries() returns table (call text, said text) language sql as $$
  select c.call, t.error('select pgflow.' || c.call)
  from (values ('grant_access(''regress_client'', ''client'')'), ('revoke_access(''regress_author'', ''author'')'), ('grant_run(''granted'', ''regress_client'')'),
    ('grant_step(''granted'', ''approve'', ''regress_client'')'), ('grant_queue(''granted'', ''regress_client'')'), ('revoke_run(''granted'', ''regress_client'')'),
    ('revoke_step(''granted'', ''approve'', ''regress_client'')'), ('revoke_queue(''granted'', ''regress_client'')')) c (call)
$$;
call t.flow('granted', '[{"step_slug": "work"}, {"step_slug": "approve", "executor": "external", "deps_slugs": ["work"]}]');
set role regress_author;
select * from t.tries();
set role regress_operator;
select * from t.tries();
set role regress_client;
select * from t.tries();
reset role;
select * from t.tries();
select pgflow.grant_access('regress_author', 'author');
-- An author may grant its own flow, and no more.
set role regress_author;
call t.flow('authored', '[{"step_slug": "work"}, {"step_slug": "approve", "executor": "external", "deps_slugs": ["work"]}]');
select pgflow.grant_run('authored', 'regress_client'), pgflow.grant_step('authored', 'approve', 'regress_client');
select flow_slug, role_name, granted_by from pgflow.run_grants;
select flow_slug, step_slug, role_name, granted_by from pgflow.step_grants;
reset role;

-- What cannot be granted.
select call, t.error('select pgflow.' || call)
from (values ('grant_access(''regress_nobody_has_it'', ''client'')'), ('grant_access(''public'', ''client'')'), ('grant_access(''regress_client'', ''owner'')'),
  ('grant_access(null, ''client'')'), ('grant_access(''regress_client'', null)'), ('revoke_access(''regress_client'', ''Client'')'),
  ('grant_run(''no_such_flow'', ''regress_client'')'), ('grant_run(''granted'', ''regress_nobody_has_it'')'), ('grant_run(null, ''regress_client'')'),
  ('grant_step(''granted'', ''work'', ''regress_client'')'), ('grant_step(''granted'', ''nothing'', ''regress_client'')'), ('grant_step(''granted'', ''approve'', null)'),
  ('grant_queue('''', ''regress_client'')'), ('grant_queue(''granted'', ''regress_nobody_has_it'')'), ('grant_queue(null, ''regress_client'')')) c (call);
-- What is not granted can be revoked.
select pgflow.revoke_access('regress_nobody_has_it', 'client'), pgflow.revoke_access('regress_client', 'author'), pgflow.revoke_run('granted', 'regress_client'),
  pgflow.revoke_step('granted', 'nothing', 'regress_client'), pgflow.revoke_queue('nothing', 'regress_client');

-- With a capability come exactly these rights, and with the last one they go; twice is once.
create view t.rights as
select g.grantee::regrole as role, g.privilege_type as privilege, string_agg(g.object, ' ' order by g.object) as objects
from (
  select (a).grantee, (a).privilege_type, nspname::text as object
  from (select nspname, aclexplode(nspacl) as a from pg_namespace where nspname like 'pgflow%') s
  union all
  select (a).grantee, (a).privilege_type, oid::regclass::text
  from (select oid, aclexplode(relacl) as a from pg_class where relnamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)) c
  union all
  select (a).grantee, (a).privilege_type, oid::regproc::text
  from (select oid, aclexplode(proacl) as a from pg_proc where pronamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)) p) g
where g.grantee <> 0 and g.grantee::regrole::text = 'regress_client'
group by 1, 2;
select pgflow.revoke_access('regress_client', 'client');
select count(*) from t.rights;
select pgflow.grant_access('regress_client', 'client'), pgflow.grant_access('regress_client', 'client');
select privilege, objects from t.rights order by 1;
select pgflow.grant_access('regress_client', 'worker');
select privilege, objects from t.rights order by 1;
select pgflow.revoke_access('regress_client', 'client');
select privilege, objects from t.rights order by 1;
select pgflow.revoke_access('regress_client', 'worker');
select count(*) from t.rights;
select capability from pgflow.access_grants where role_name = 'regress_client';
-- What no capability gives is for the owner of the extension alone.
begin;
select pgflow.grant_access('regress_client', capability) from unnest('{client,worker,author,operator}'::text[]) capability;
select oid::regproc::text as function from pg_proc p where pronamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  and not has_function_privilege('regress_client', oid, 'execute') order by 1;
select oid::regclass::text as relation from pg_class p where relnamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace) and relkind in ('r', 'v', 'S')
  and not case relkind when 'S' then has_sequence_privilege('regress_client', oid, 'usage, select, update') else has_table_privilege('regress_client', oid, 'select') end order by 1;
select oid::regclass::text as may_write from pg_class p where relnamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace) and relkind in ('r', 'v')
  and has_table_privilege('regress_client', oid, 'insert, update, delete, truncate, references, trigger') order by 1;
rollback;

-- Rights are inherited, and end when membership or the grant does.
select pgflow.grant_access('regress_client', 'client');
set role regress_heir;
select pgflow.run_flow('authored') is not null as started;
call t.fails($$select pgflow.run_flow('granted')$$);
reset role;
revoke regress_client from regress_heir;
set role regress_heir;
select t.sqlstate($$select pgflow.run_flow('authored')$$);
reset role;
grant regress_client to regress_heir;
set role regress_heir;
select pgflow.run_flow('authored') is not null as started;
reset role;
alter role regress_client rename to regress_renamed;
set role regress_heir;
call t.fails($$select pgflow.run_flow('authored')$$);
reset role;
alter role regress_renamed rename to regress_client;
select pgflow.revoke_run('authored', 'regress_client');
set role regress_heir;
call t.fails($$select pgflow.run_flow('authored')$$);
call t.fails($$select pgflow.run_flow('no_such_flow')$$);
reset role;
-- The right to execute a function is not enough, and neither is a grant without a capability.
select pgflow.revoke_access('regress_client', 'client'), pgflow.grant_run('authored', 'regress_client'), pgflow.grant_queue('authored', 'regress_client');
grant usage on schema pgflow to regress_client;
grant execute on all functions in schema pgflow to regress_client;
set role regress_client;
call t.fails($$select pgflow.run_flow('authored')$$);
call t.fails($$select pgflow.claim_step_tasks('authored')$$);
call t.fails($$select pgflow.prune_runs('0')$$);
reset role;

-- The grants of a flow end with it: who takes the name next begins with none.
select pgflow.delete_flow('authored', true);
select count(*) from pgflow.run_grants where flow_slug = 'authored';
select count(*) from pgflow.step_grants where flow_slug = 'authored';
select pgflow.delete_flow('granted', true);
-- In a transaction that is rolled back nothing was granted.
begin;
select pgflow.grant_access('regress_client', 'operator');
rollback;
set role regress_client;
call t.fails($$select pgflow.prune_runs('0')$$);
reset role;

-- A role that is gone leaves its grants behind, which can be taken away.
drop owned by regress_client, regress_heir;
drop role regress_heir, regress_client;
select pgflow.revoke_queue('authored', 'regress_client');
select pgflow.revoke_access('regress_author', 'author'), pgflow.revoke_access('regress_operator', 'operator');
select count(*) from pgflow.queue_grants;
revoke usage on schema t from regress_author, regress_operator;
drop role regress_author, regress_operator;
drop view t.rights;
drop function t.tries();
