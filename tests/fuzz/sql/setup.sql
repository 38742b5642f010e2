-- What the fuzzer needs beside the extension: values that only a table can hold, ways to call, and its oracles.

drop schema if exists fuzz, fuzz_hostile cascade;
create schema fuzz;

-- What flow_graph should say of a flow that a document defined, as docs/definition.md has it: null is the same as
-- leaving a field out, except for the target of a step.
create function fuzz.field(object jsonb, name text, otherwise jsonb = 'null') returns jsonb
immutable language sql return coalesce(nullif(object -> name, 'null'), otherwise);

create function fuzz.expected(d jsonb) returns jsonb immutable language sql begin atomic
  select jsonb_build_object(
    'flow_slug', d -> 'flow_slug',
    'description', fuzz.field(d, 'description'),
    'max_attempts', fuzz.field(d, 'max_attempts', '3'),
    'base_delay', fuzz.field(d, 'base_delay', '5'),
    'timeout', fuzz.field(d, 'timeout', '60'),
    'max_delay', fuzz.field(d, 'max_delay', '3600'),
    'run_timeout', fuzz.field(d, 'run_timeout'),
    'output_step_slug', fuzz.field(d, 'output_step_slug'),
    'executor', fuzz.field(d, 'executor', '"worker"'),
    'target', fuzz.field(d, 'target'),
    'steps', (
      select coalesce(jsonb_object_agg(s.value ->> 'step_slug', jsonb_build_object(
        'step_index', s.number - 1,
        'deps_slugs', deps.sorted,
        'step_type', fuzz.field(s.value, 'step_type', '"single"'),
        'map_over', fuzz.field(s.value, 'map_over',
                               case when s.value ->> 'step_type' = 'map' then coalesce(deps.sorted -> 0, 'null') else 'null' end),
        'executor', fuzz.field(s.value, 'executor', fuzz.field(d, 'executor', '"worker"')),
        'target', coalesce(s.value -> 'target',
                           case when fuzz.field(s.value, 'executor', fuzz.field(d, 'executor', '"worker"'))
                                     in (fuzz.field(d, 'executor', '"worker"'), '"worker"') then d -> 'target' end, 'null'),
        'queue', fuzz.field(s.value, 'queue', d -> 'flow_slug'),
        'start_mode', fuzz.field(s.value, 'start_mode', '"auto"'),
        'max_attempts', fuzz.field(s.value, 'max_attempts'),
        'base_delay', fuzz.field(s.value, 'base_delay'),
        'timeout', fuzz.field(s.value, 'timeout'),
        'start_delay', fuzz.field(s.value, 'start_delay'),
        'required_input_pattern', fuzz.field(s.value, 'required_input_pattern'),
        'forbidden_input_pattern', fuzz.field(s.value, 'forbidden_input_pattern'),
        'when_unmet', fuzz.field(s.value, 'when_unmet', '"skip"'),
        'when_exhausted', fuzz.field(s.value, 'when_exhausted', '"fail"'))), '{}')
      from jsonb_array_elements(d -> 'steps') with ordinality s (value, number),
           lateral (select coalesce(jsonb_agg(dep order by dep collate "C"), '[]') as sorted
                    from jsonb_array_elements_text(fuzz.field(s.value, 'deps_slugs', '[]')) dep) deps));
end;

create function fuzz.stored(slug text) returns jsonb language plpgsql as $$
declare
  g jsonb := pgflow.flow_graph(slug);
begin
  return g - '{version,latest_version,owner,frozen_at,created_at,deps,steps}'::text[] || jsonb_build_object('steps', (
    select coalesce(jsonb_object_agg(s.value ->> 'step_slug', s.value - 'step_slug'), '{}')
    from jsonb_array_elements(g -> 'steps') s));
end $$;

-- What a session should be like between two transactions; null when it is.
create function fuzz.drift() returns text stable language sql return nullif(concat_ws(', ',
  case when current_user <> session_user then 'current_user is ' || current_user end,
  (select string_agg(name || ' is ' || current_setting(name), ', ')
   from unnest('{enable_seqscan,enable_hashjoin,enable_mergejoin,enable_material,enable_indexscan,enable_indexonlyscan,enable_bitmapscan,enable_nestloop,enable_sort}'::text[]) name
   where current_setting(name) <> 'on'),
  (select string_agg(name || ' is ' || current_setting(name), ', ')
   from (values ('plan_cache_mode', 'auto'), ('join_collapse_limit', '8'), ('from_collapse_limit', '8'), ('jit', 'off')) v (name, value)
   where current_setting(name) <> value),
  -- Predicate locks stay for the sake of other transactions.
  (select 'held: ' || string_agg(concat_ws(' ', mode, locktype, relation::regclass), ', ') from pg_locks
   where pid = pg_backend_pid() and mode not in ('AccessShareLock', 'SIReadLock') and locktype <> 'virtualxid')), '');

-- The contents of all tables of the extension.
create function fuzz.digest() returns text language plpgsql as $$
declare
  t regclass;
  part text;
  whole text = '';
begin
  for t in select oid from pg_class where relnamespace = 'pgflow'::regnamespace and relkind = 'r' order by relname loop
    execute format('select md5(string_agg(h, '''' order by h)) from (select md5(t::text) as h from %s t) t', t) into part;
    whole := concat(whole, part);
  end loop;
  return md5(whole);
end $$;

-- Values as they lie in a table: short headers, compressed, out of line. A table for each, so that no operator is needed
-- to find it.
do $$
declare
  name text;
  value text;
begin
  for name, value in values ('short', 'a'), ('flow', 'fuzz_chain'), ('compressed', repeat('0123456789', 1000)),
                            ('external', repeat('0123456789', 100000)), ('random', (select string_agg(md5(n::text), '') from generate_series(1, 20000) n)) loop
    execute format('create table fuzz.%s (t text, j jsonb, ta text[], ja jsonb[])', name);
    if name = 'external' then
      execute format('alter table fuzz.%s alter t set storage external, alter j set storage external', name);
    end if;
    execute format('insert into fuzz.%s values ($1, jsonb_build_object(''k'', $1, ''l'', array[$1]), array[$1, ''a''], array[to_jsonb($1), ''{"a": 1}''])', name)
    using value;
  end loop;
end $$;

create table fuzz.many as select n from generate_series(1, 3) n;
create table fuzz.deferred (sql text);

-- An array that lives in memory as plpgsql keeps it.
create function fuzz.expanded(a anyarray) returns anyarray language plpgsql as $$
begin
  a := a || a;
  return a[1:(cardinality(a) / 2)];
end $$;

create function fuzz.execute() returns trigger language plpgsql as $$
begin
  execute new.sql;
  return null;
end $$;
create constraint trigger deferred after insert on fuzz.deferred deferrable initially deferred
for each row execute function fuzz.execute();

-- Code that goes on after an error, as long as the error is one that may be.
create procedure fuzz.caught(sql text, allowed text[]) language plpgsql as $$
begin
  begin
    execute sql;
  exception when others then
    if sqlstate <> all (allowed) then
      raise;
    end if;
  end;
end $$;

-- Functions, operators and tables that stand in front.
create schema fuzz_hostile;
create function fuzz_hostile.trap() returns int language plpgsql as $$ begin raise 'shadowed' using errcode = 'XX999'; end $$;
create function fuzz_hostile.trap2(text, text) returns boolean language sql return fuzz_hostile.trap() > 0;
create function fuzz_hostile.trap2(jsonb, jsonb) returns boolean language sql return fuzz_hostile.trap() > 0;
create function fuzz_hostile.trap2(uuid, uuid) returns boolean language sql return fuzz_hostile.trap() > 0;
create function fuzz_hostile.trap2(int, int) returns boolean language sql return fuzz_hostile.trap() > 0;
create operator fuzz_hostile.= (leftarg = text, rightarg = text, function = fuzz_hostile.trap2);
create operator fuzz_hostile.= (leftarg = uuid, rightarg = uuid, function = fuzz_hostile.trap2);
create operator fuzz_hostile.= (leftarg = int, rightarg = int, function = fuzz_hostile.trap2);
create operator fuzz_hostile.<> (leftarg = text, rightarg = text, function = fuzz_hostile.trap2);
create operator fuzz_hostile.@> (leftarg = jsonb, rightarg = jsonb, function = fuzz_hostile.trap2);
create function fuzz_hostile.clock_timestamp() returns timestamptz language sql return to_timestamp(fuzz_hostile.trap());
create function fuzz_hostile.now() returns timestamptz language sql return to_timestamp(fuzz_hostile.trap());
create function fuzz_hostile.gen_random_uuid() returns uuid language sql return md5(fuzz_hostile.trap()::text)::uuid;
create function fuzz_hostile.jsonb_typeof(jsonb) returns text language sql return fuzz_hostile.trap()::text;
create function fuzz_hostile.unnest(text[]) returns setof text language sql return fuzz_hostile.trap()::text;
create table fuzz_hostile.runs (run_id uuid);
create table fuzz_hostile.flows (flow_slug text);

do $$ begin
  if to_regrole('pgflow_fuzz_nobody') is null then create role pgflow_fuzz_nobody; end if;
  if to_regrole('pgflow_fuzz_somebody') is null then create role pgflow_fuzz_somebody; end if;
end $$;
grant usage on schema fuzz to pgflow_fuzz_nobody;
grant usage on schema fuzz to pgflow_fuzz_somebody;
select pgflow.grant_access('pgflow_fuzz_somebody', capability) from unnest('{client,worker,author,operator}'::text[]) capability;
grant select on all tables in schema fuzz to pgflow_fuzz_nobody, pgflow_fuzz_somebody;
grant execute on all functions in schema pgflow, pgflow_locks to pgflow_fuzz_somebody;

-- A definer wrapper of every function.
do $$
declare
  f record;
begin
  for f in select oid::regproc as call, proname, pronargs, pg_get_function_identity_arguments(oid) as arguments,
                  pg_get_function_result(oid) as result, prorettype = 'void'::regtype as is_void
           from pg_proc where pronamespace::regnamespace::text in ('pgflow', 'pgflow_locks') and prokind = 'f' loop
    execute format('create function fuzz.definer_%s(%s) returns %s security definer set search_path = pg_catalog language sql as %L',
                   f.proname, f.arguments, f.result,
                   format('select %s %s(%s)', case when f.is_void then '' else '* from' end, f.call,
                          (select string_agg('$' || n, ', ') from generate_series(1, f.pronargs) n)));
  end loop;
end $$;
