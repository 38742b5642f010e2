\pset null <null>
-- Nothing is granted to PUBLIC.
select 'schema' as kind, nspname::text as name from pg_namespace where nspname in ('pgflow', 'pgflow_locks')
  and exists (select from aclexplode(coalesce(nspacl, acldefault('n', nspowner))) where grantee = 0)
union all
select 'relation', relname from pg_class where relnamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace) and relkind in ('r', 'p', 'v', 'm', 'S')
  and exists (select from aclexplode(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) where grantee = 0)
union all
select 'function', proname from pg_proc where pronamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)
union all
select 'type', typname from pg_type where typnamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  and typtype in ('c', 'd', 'e') and not exists (select from pg_class where oid = typrelid and relkind <> 'c')
  and exists (select from aclexplode(coalesce(typacl, acldefault('T', typowner))) where grantee = 0);

-- Every function has a pinned search_path and runs as its caller; no two share a name.
select proname, proconfig, prosecdef from pg_proc where pronamespace in ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  and (prosecdef or not exists (select from unnest(proconfig) c where c like 'search_path=%'));
select proname, count(*) from pg_proc where pronamespace = 'pgflow'::regnamespace group by 1 having count(*) > 1;

-- A role without rights can do nothing.
call t.flow('privileges', '[{"step_slug": "a"}]');
select pgflow.run_flow('privileges') as run \gset
create role regress_nobody;
grant usage on schema t to regress_nobody;
set role regress_nobody;
call t.fails($$select pgflow.run_flow('privileges')$$);
call t.fails($$select pgflow.claim_step_tasks('privileges')$$);
call t.fails($$select * from pgflow.runs$$);
call t.fails($$select pgflow_locks.lock_run($1)$$, :'run');
reset role;
-- Nor, with the schema open to it, by any function or table.
grant usage on schema pgflow, pgflow_locks to regress_nobody;
set role regress_nobody;
select call, t.sqlstate('select pgflow.' || call, :'run')
from (values ('create_flow(''x'')'), ('add_step(''privileges'', ''b'')'), ('define_flow(''{}'')'), ('delete_flow(''privileges'', true)'), ('flow_graph(''privileges'')'),
  ('run_flow(''privileges'')'), ('run_flows(''privileges'', ''{1}'')'), ('start_step($1, ''a'')'), ('claim_step_tasks(''privileges'')'), ('complete_step_task($1, ''a'')'),
  ('fail_step_task($1, ''a'', ''no'')'), ('extend_step_task($1, ''a'')'), ('release_step_task($1, ''a'')'), ('settle_step_tasks(''[]'')'),
  ('settle_and_claim(''[]'', ''privileges'')'), ('complete_step($1, ''a'')'), ('cancel_run($1)'), ('retry_run($1)'), ('fork_run($1, ''{a}'')'), ('get_run($1)'),
  ('prune_runs(''1 day'')'), ('schedule_flow(''s'', ''privileges'', ''@daily'')'), ('unschedule_flow(''s'')'), ('set_retention(''privileges'', ''1 day'')'), ('run_upkeep()'), ('check_integrity()')) v (call);
select count(*) from pgflow.live_tasks;
reset role;
select relname from pg_class where relnamespace = 'pgflow'::regnamespace and relkind in ('r', 'p', 'v')
  and has_table_privilege('regress_nobody', oid, 'select, insert, update, delete, truncate, references, trigger');

-- The caller is the role in force: after SET ROLE, and the owner of a definer wrapper.
create role regress_boss superuser;
set role regress_boss;
create function t.wrapped() returns uuid language sql security definer as $$ select pgflow.run_flow('privileges', '"wrapped"') $$;
select pgflow.run_flow('privileges', '"role"') is not null;
reset role;
select pgflow.run_flow('privileges', '"self"') is not null, t.wrapped() is not null;
select payload, case created_by when 'regress_boss' then 'boss' when session_user then 'self' end as creator
from pgflow.runs where flow_slug = 'privileges' and jsonb_typeof(payload) = 'string' order by run_id;
select pgflow.delete_flow('privileges', true);
drop function t.wrapped();
revoke usage on schema pgflow, pgflow_locks from regress_nobody;
revoke usage on schema t from regress_nobody;
drop role regress_nobody, regress_boss;
