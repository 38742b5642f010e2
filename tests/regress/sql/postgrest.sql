\pset null <null>
-- What PostgREST makes of requests: a transaction for each, in which the role and the claims of the token are set, and one
-- query over a call of the function with the members of the request's JSON as named arguments. A change that breaks
-- calls over HTTP breaks this.
create schema rest;

-- The query for a call, by what the function returns: one value, one row, or rows. $1 is the body of the request.
create function rest.query(function text, body json) returns text language sql as $$
  with f as (
    select p.*, format('%I.%I', n.nspname, p.proname) as name,
           t.typtype <> 'c' and not (p.proretset and p.proargmodes is not null) as is_scalar,
           p.proretset as is_set
    from pg_proc p join pg_namespace n on n.oid = pronamespace join pg_type t on t.oid = prorettype
    where nspname = 'pgflow' and proname = function
  ), arguments as (
    select count(*) as count, string_agg(format('%I', key), ', ' order by no) as names,
           string_agg(format('%I %s', key, type), ', ' order by no) as typed,
           string_agg(format('%1$I := pgrst_body.%1$I', key), ', ' order by no) as named
    from f
    cross join json_object_keys(body) with ordinality k(key, no)
    left join lateral (
      select format_type(u.type, null) as type
      from unnest(f.proargnames, coalesce(f.proallargtypes, f.proargtypes::oid[])) u(name, type)
      where u.name = k.key) u on true
  ), calls as (
    select f.*, a.*, format(case when is_scalar then '(SELECT %s(%s) pgrst_scalar) pgrst_call' else '%s(%s) pgrst_call' end, name, named) as call
    from f, arguments a
  )
  select format(
    'WITH pgrst_source AS (SELECT %s FROM %s) '
    'SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, coalesce(json_agg(%s)%s, %L) AS body, '
    'nullif(current_setting(''response.headers'', true), '''') AS response_headers, '
    'nullif(current_setting(''response.status'', true), '''') AS response_status, '''' AS response_inserted '
    'FROM (SELECT %I.* FROM "pgrst_source" AS %I) _postgrest_t',
    case when is_scalar then 'pgrst_call.pgrst_scalar' else 'pgrst_call.*' end,
    case count when 0 then call else format(
      '(SELECT $1::json AS json_data) pgrst_payload, LATERAL (SELECT %s FROM json_to_record(pgrst_payload.json_data) AS _(%s) LIMIT 1) pgrst_body, LATERAL %s',
      names, typed, call) end,
    '_postgrest_t' || case when is_scalar then '.pgrst_scalar' else '' end,
    case when is_set then '' else '->0' end, case when is_set then '[]' else 'null' end, proname, proname)
  from calls
$$;

-- The status that PostgREST gives an error.
create function rest.status(code text, role text) returns int language sql as $$
  select case when code ~ '^PT[0-9]{3}$' then substr(code, 3)::int when code = '25006' then 405 when code = '42883' then 404
              when code = '42501' then case role when 'rest_anon' then 401 else 403 end
              when code like '22%' then 400 else 500 end
$$;

-- A request by a token with this role and subject; the response goes to a notice, its body also to the caller.
create function rest.send(method text, role text, sub text, query text, arguments json) returns jsonb language plpgsql as $$
declare
  state text;
  message text;
  detail text;
  hint text;
  skipped text;
  body jsonb;
begin
  perform set_config('transaction_read_only', case method when 'GET' then 'on' else 'off' end, true);
  perform set_config('search_path', '"pgflow", "public"', true), set_config('role', role, true),
    set_config('request.jwt.claims', json_strip_nulls(json_build_object('role', role, 'sub', sub))::text, true),
    set_config('request.method', method, true), set_config('request.headers', '{"accept": "*/*"}', true);
  begin
    execute query into skipped, skipped, body using arguments;
    raise notice '200 %', t.plain(regexp_replace(regexp_replace(body::text, '"(\w+_at)": "[^"]*"', '"\1": <time>', 'g'), '"lease": \d+', '"lease": <lease>', 'g'));
  exception when others then
    get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
    raise notice '% %', rest.status(state, role), t.plain(concat_ws(' | ', state, message, nullif(detail, ''), nullif(hint, '')));
  end;
  return body;
end $$;

-- POST and GET /rpc/function.
create function rest.rpc(method text, role text, sub text, function text, arguments json) returns jsonb language sql as $$
  select rest.send(method, role, sub, rest.query(function, arguments), arguments)
$$;

create role rest_authenticator noinherit;
create role rest_anon;
create role rest_user;
create role rest_worker;
grant rest_anon, rest_user, rest_worker to rest_authenticator;
grant usage on schema rest, t to public;
insert into pgflow.gateway_roles values ('rest_authenticator');

call t.flow('rest', '[
  {"step_slug": "fetch"},
  {"step_slug": "each", "step_type": "map", "deps_slugs": ["fetch"]},
  {"step_slug": "approve", "executor": "external", "deps_slugs": ["each"]}]');
select pgflow.grant_access('rest_user', 'client'), pgflow.grant_run('rest', 'rest_user'), pgflow.grant_step('rest', 'approve', 'rest_user');
select pgflow.grant_access('rest_worker', 'worker'), pgflow.grant_queue('rest', 'rest_worker');

set session authorization rest_authenticator;

-- Nothing for who has no token.
select rest.rpc('POST', 'rest_anon', null, 'run_flow', '{"flow_slug": "rest"}') as body \gset
select rest.rpc('GET', 'rest_anon', null, 'flow_graph', '{"flow_slug": "rest"}') as body \gset

-- A browser starts a run: the id, alone. Arguments that are not given have their defaults; null is no default.
select rest.rpc('POST', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "rest", "payload": {"topic": "locks"}, "idempotency_key": "k"}') as body \gset
select :'body'::jsonb ->> 0 as run \gset
select rest.rpc('POST', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "rest", "payload": {}, "idempotency_key": "k"}') as body \gset
select :'body'::jsonb ->> 0 = :'run' as is_the_first_run;
select rest.rpc('POST', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "rest", "payload": null}') as body \gset
select rest.rpc('POST', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "rest", "start_at": "2100-01-01T00:00:00Z", "priority": 5, "key": "tenant"}') as body \gset
select rest.rpc('POST', 'rest_user', 'ann', 'run_flows', '{"flow_slug": "rest", "payloads": [{"n": 1}, [2]]}') as body \gset
select rest.rpc('POST', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "none"}') as body \gset
select rest.rpc('POST', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "no slug!"}') as body \gset
-- A writer by GET is refused, a reader is not.
select rest.rpc('GET', 'rest_user', 'ann', 'run_flow', '{"flow_slug": "rest"}') as body \gset
select rest.rpc('GET', 'rest_user', 'ann', 'flow_graph', '{"flow_slug": "rest"}') as body \gset
select json_build_object('run_id', :'run') as run_id \gset
select rest.rpc('GET', 'rest_user', 'ann', 'get_run', :'run_id') as body \gset
-- Another user of the same role does not see it.
select rest.rpc('GET', 'rest_user', 'bob', 'get_run', :'run_id') as body \gset
select rest.rpc('POST', 'rest_user', 'bob', 'cancel_run', :'run_id') as body \gset
select rest.rpc('POST', 'rest_user', 'ann', 'claim_step_tasks', '{"queue": "rest"}') as body \gset

-- A worker claims, settles, and claims no more than there is.
select rest.rpc('POST', 'rest_worker', null, 'claim_step_tasks', '{"queue": "elsewhere"}') as body \gset
select rest.rpc('POST', 'rest_worker', null, 'claim_step_tasks', '{"queue": "rest", "max_tasks": 1}') as claimed \gset
select rest.rpc('POST', 'rest_worker', null, 'complete_step_task', json_build_object('run_id', :'run', 'step_slug', 'fetch', 'output', '[1, 2]'::json)) as body \gset
select json_build_object('run_id', :'run', 'step_slug', 'fetch', 'output', '[1, 2]'::json, 'lease', :'claimed'::jsonb #> '{0,lease}') as arguments \gset
select rest.rpc('POST', 'rest_worker', null, 'complete_step_task', :'arguments') as body \gset
select rest.rpc('POST', 'rest_worker', null, 'complete_step_task', :'arguments') as body \gset
select rest.rpc('POST', 'rest_worker', null, 'settle_and_claim', '{"results": [], "queue": "rest", "max_tasks": 0}') as body \gset
select rest.rpc('POST', 'rest_worker', null, 'settle_step_tasks', '{"results": [{"run_id": 5}]}') as body \gset
select rest.rpc('POST', 'rest_worker', null, 'settle_and_claim', '{"results": [], "queue": "rest", "worker_id": "edge"}') as claimed \gset
select json_build_object('results', jsonb_agg(task - '{input,attempt,flow_slug,lease_expires_at}'::text[] || jsonb_build_object('output', task -> 'input' -> 'item'))) as arguments
from jsonb_array_elements(:'claimed') task where task ->> 'step_slug' = 'each' \gset
select rest.rpc('POST', 'rest_worker', null, 'settle_step_tasks', :'arguments') as body \gset

-- The user approves; who may not is told so.
select json_build_object('run_id', :'run', 'step_slug', 'approve', 'output', 'yes') as arguments \gset
select rest.rpc('POST', 'rest_worker', null, 'complete_step', :'arguments') as body \gset
select rest.rpc('POST', 'rest_user', 'bob', 'complete_step', :'arguments') as body \gset
select rest.rpc('POST', 'rest_user', 'ann', 'complete_step', :'arguments') as body \gset

-- GET /runs?select=status,step_states(step_slug,status,step_tasks(task_index,status)), as PostgREST embeds by functions of rows.
select $$WITH pgrst_source AS (
  SELECT "pgflow"."runs"."status", COALESCE("runs_step_states_1"."runs_step_states_1", '[]') AS "step_states"
  FROM "pgflow"."runs"
  LEFT JOIN LATERAL (
    SELECT json_agg("runs_step_states_1") AS "runs_step_states_1"
    FROM (SELECT "step_states_1"."step_slug", "step_states_1"."status", COALESCE("step_states_step_tasks_2"."step_states_step_tasks_2", '[]') AS "step_tasks"
          FROM "pgflow"."step_states"("runs"::"pgflow"."runs") AS "step_states_1"
          LEFT JOIN LATERAL (
            SELECT json_agg("step_states_step_tasks_2") AS "step_states_step_tasks_2"
            FROM (SELECT "step_tasks_2"."task_index", "step_tasks_2"."status"
                  FROM "pgflow"."step_tasks"("step_states_1"::"pgflow"."step_states") AS "step_tasks_2"
                  ORDER BY "step_tasks_2"."task_index") AS "step_states_step_tasks_2") AS "step_states_step_tasks_2" ON TRUE
          ORDER BY "step_states_1"."started_at") AS "runs_step_states_1") AS "runs_step_states_1" ON TRUE
  WHERE "pgflow"."runs"."idempotency_key" = 'k')
SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, coalesce(json_agg(_postgrest_t), '[]') AS body
FROM (SELECT * FROM pgrst_source) _postgrest_t$$ as query \gset
select rest.send('GET', 'rest_user', 'ann', :'query', null) as body \gset
select rest.send('GET', 'rest_user', 'bob', :'query', null) as body \gset
select rest.send('GET', 'rest_anon', null, :'query', null) as body \gset

-- Claims count only where a gateway made them.
reset session authorization;
delete from pgflow.gateway_roles;
set session authorization rest_authenticator;
select rest.rpc('GET', 'rest_user', 'ann', 'get_run', :'run_id') as body \gset
reset session authorization;

select pgflow.delete_flow('rest', true);
select pgflow.revoke_access('rest_user', 'client'), pgflow.revoke_access('rest_worker', 'worker');
set client_min_messages = warning;
drop schema rest cascade;
drop role rest_authenticator, rest_anon, rest_user, rest_worker;
