\pset null <null>
-- Who sees which rows, and what a call about a run says to whom: one that is not seen is not there (PT404), one that is
-- seen and may not be touched is denied (42501).
create role regress_author;
create role regress_other_author;
create role regress_client;
create role regress_other_client;
create role regress_worker;
create role regress_operator;
create role regress_stranger;
grant usage on schema t to regress_author, regress_other_author, regress_client, regress_other_client, regress_worker, regress_operator, regress_stranger;
select pgflow.grant_access('regress_author', 'author'), pgflow.grant_access('regress_other_author', 'author'), pgflow.grant_access('regress_client', 'client'),
  pgflow.grant_access('regress_other_client', 'client'), pgflow.grant_access('regress_worker', 'worker'), pgflow.grant_access('regress_operator', 'operator');
set role regress_author;
call t.flow('seen', '[{"step_slug": "first"}, {"step_slug": "second", "queue": "seconds", "deps_slugs": ["first"]}, {"step_slug": "ask", "executor": "external", "deps_slugs": ["first"]}]');
select pgflow.grant_run('seen', 'regress_client'), pgflow.grant_run('seen', 'regress_other_client');
set role regress_other_author;
call t.flow('unseen', '[{"step_slug": "only"}]');
reset role;
select pgflow.grant_queue('seconds', 'regress_worker');
set role regress_client;
select pgflow.run_flow('seen', '"a client''s"') as run \gset
set role regress_other_author;
select pgflow.run_flow('unseen') as unseen \gset
reset role;
select lease from pgflow.claim_step_tasks('seen') \gset
select accepted from pgflow.complete_step_task(:'run', 'first', '{"secret": 1}', lease => :lease);

-- Tables and get_run.
create function t.looks(run uuid) returns table (what text, seen text) language plpgsql as $$
declare
  name text;
begin
  foreach name in array array['runs', 'step_states', 'step_tasks', 'flows', 'flow_versions', 'steps', 'deps', 'run_timeline', 'flow_stats', 'live_tasks', 'queue_stats', 'stuck_runs',
    'run_grants', 'queue_grants', 'access_grants', 'schedules', 'queues', 'workers', 'events', 'idempotency_keys', 'http_secrets', 'gateway_roles'] loop
    what := name;
    begin
      execute format('select string_agg(distinct line, '' '' order by line) from (select coalesce(nullif(concat_ws(''/'', j->>''flow_slug'', j->>''step_slug''), ''''), ''rows'') as line from (select to_jsonb(v) j from pgflow.%I v where v is distinct from null) v where not j @> ''{"flow_slug": "statistics"}'') v', name)
        into seen;
      seen := coalesce(seen, 'nothing');
    exception when insufficient_privilege then
      seen := 'denied';
    end;
    return next;
  end loop;
  what := 'get_run';
  seen := t.error('select pgflow.get_run($1)', run);
  return next;
end $$;
set role regress_client;
select * from t.looks(:'run');
set role regress_other_client;
select * from t.looks(:'run');
set role regress_author;
select * from t.looks(:'run');
set role regress_other_author;
select * from t.looks(:'run');
set role regress_worker;
select * from t.looks(:'run');
set role regress_operator;
select * from t.looks(:'run');
set role regress_stranger;
select * from t.looks(:'run');
reset role;

-- The same with row_security off: an error instead of rows.
set role regress_client;
set row_security = off;
call t.fails('select count(*) from pgflow.runs');
select pgflow.get_run(:'run') -> 'run' -> 'payload' as payload;
reset row_security;
-- A row that is not seen is not met by a function of one's own either.
create function pg_temp.spy(what text) returns boolean cost 0.0001 language plpgsql as $$ begin raise notice 'met %', what; return true; end $$;
select flow_slug from pgflow.runs where pg_temp.spy(flow_slug);
drop function pg_temp.spy(text);
reset role;

-- Calls about a run.
create function t.touches(run uuid) returns table (call text, said text) language sql as $$
  select c.call, t.sqlstate('select pgflow.' || c.call, run)
  from (values ('get_run($1)'), ('cancel_run($1)'), ('retry_run($1)'), ('fork_run($1, ''{first}'')'), ('start_step($1, ''first'')'), ('complete_step($1, ''ask'')'), ('complete_step($1, ''none'')'),
    ('complete_step_task($1, ''second'')'), ('complete_step_task($1, ''ask'')'), ('complete_step_task($1, ''second'', lease => 1)'), ('fail_step_task($1, ''second'', ''no'', lease => 1)'),
    ('extend_step_task($1, ''second'', lease => 1)'), ('release_step_task($1, ''second'', lease => 1)'), ('complete_step_task($1, ''first'', lease => 1)'),
    ('complete_step_task($1, ''none'', lease => 1)')) c (call)
$$;
-- Not the run of who looks, or of nobody's: the functions of a capability say the same of both.
set role regress_client;
select call, said from t.touches(:'run') where said <> '42501';
select distinct said from t.touches(:'unseen') union select distinct said from t.touches('01900000-0000-7000-8000-000000000001');
set role regress_other_client;
select call, said from t.touches(:'run') where said <> '42501';
set role regress_other_author;
select said, string_agg(call, ' ' order by call) from t.touches(:'run') group by said order by said;
set role regress_worker;
select said, string_agg(call, ' ' order by call) from t.touches(:'run') group by said order by said;
select said, string_agg(call, ' ' order by call) from t.touches(:'unseen') group by said order by said;
set role regress_stranger;
select distinct said from t.touches(:'run');
reset role;
select status, count(*) from pgflow.step_tasks where run_id = :'run' group by status order by status;

-- The owner of the flow, and operators, may.
set role regress_author;
select status from pgflow.cancel_run(:'run');
select status from pgflow.retry_run(:'run');
call t.fails('select pgflow.cancel_run($1)', :'unseen');
reset role; set role regress_operator;
select status from pgflow.cancel_run(:'unseen');
select status from pgflow.retry_run(:'unseen');
select accepted from pgflow.complete_step(:'run', 'ask');
select pgflow.flow_graph('unseen') is not null as reads;
reset role;

-- Who may start runs.
create function t.starts() returns table (flow text, run_flow text, flow_graph text) language sql as $$
  select f, t.sqlstate(format('select pgflow.run_flow(%L)', f)), t.sqlstate(format('select pgflow.flow_graph(%L)', f))
  from (values ('seen'), ('unseen'), ('no_such_flow')) v (f)
$$;
set role regress_client;
select * from t.starts();
select t.sqlstate($$select pgflow.run_flows('unseen', '{1}')$$);
reset role; set role regress_author;
select * from t.starts();
reset role; set role regress_worker;
select * from t.starts();
reset role; set role regress_operator;
select * from t.starts();
-- Who may change the definition: its owner alone.
reset role; set role regress_other_author;
call t.fails($$select pgflow.add_step('seen', 'more')$$);
call t.fails($$select pgflow.delete_flow('seen', true)$$);
reset role; set role regress_operator;
select t.sqlstate($$select pgflow.delete_flow('seen', true)$$);
reset role;
-- A right that is taken away: the runs that were started are still seen.
select pgflow.revoke_run('seen', 'regress_client');
set role regress_client;
select count(*) > 0 as sees_its_runs from pgflow.runs;
select count(*) as flows from pgflow.flows;
reset role;

select pgflow.delete_flow('seen', true), pgflow.delete_flow('unseen', true), pgflow.revoke_queue('seconds', 'regress_worker');
select pgflow.revoke_access(role_name, capability) from pgflow.access_grants;
drop function t.looks(uuid), t.touches(uuid), t.starts();
revoke usage on schema t from regress_author, regress_other_author, regress_client, regress_other_client, regress_worker, regress_operator, regress_stranger;
drop role regress_author, regress_other_author, regress_client, regress_other_client, regress_worker, regress_operator, regress_stranger;
