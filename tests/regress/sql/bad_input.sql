\pset null <null>
-- Slugs of a megabyte, with quotes, with emoji: the message stays short.
select what, split_part(error, ':', 1) as sqlstate, length(error) < 1000 as short
from (values ('1 MB', repeat('x', 1000000)), ('quotes', '''; drop schema pgflow cascade; --'), ('double', '"a"'), ('emoji', '🦆')) v (what, slug),
     lateral (select t.error(format('select pgflow.create_flow(%L)', slug)) as error) create_flow;
select what, split_part(error, ':', 1) as sqlstate, length(error) < 1000 as short
from (values ('1 MB', repeat('x', 1000000)), ('quotes', '''; drop schema pgflow cascade; --'), ('double', '"a"'), ('emoji', '🦆'), ('empty', '')) v (what, slug),
     lateral (select t.error(format('select pgflow.run_flow(%L)', slug)) as error) run_flow;
select what, split_part(error, ':', 1) as sqlstate
from (values ('1 MB', repeat('x', 1000000)), ('quotes', ''''), ('emoji', '🦆'), ('empty', '')) v (what, queue),
     lateral (select t.error(format('select pgflow.claim_step_tasks(%L)', queue)) as error) claim;

-- Deep JSON passes through where it is a payload, and is no way to crash a definition.
call t.flow('bad', '[{"step_slug": "a"}]');
select pgflow.run_flow('bad', (repeat('[', 3000) || repeat(']', 3000))::jsonb) as run \gset
select length(input::text) from t.claim('bad');
select * from t.complete(:'run', 'a', (repeat('{"k": ', 1000) || '1' || repeat('}', 1000))::jsonb);
select status, length(output::text) from t.run(:'run');
select t.sqlstate(format('select pgflow.define_flow(%L)', repeat('[', 3000) || repeat(']', 3000)));
select t.sqlstate(format('select pgflow.define_flow(%L)', '{"flow_slug": "bad_deep", "steps": ' || repeat('[', 3000) || repeat(']', 3000) || '}'));
select t.sqlstate(format('select pgflow.settle_step_tasks(%L)', repeat('[', 3000) || repeat(']', 3000)));
-- A deep output in a batch.
select pgflow.run_flow('bad') as run \gset
select step_slug from t.claim('bad');
select accepted from pgflow.settle_step_tasks(jsonb_build_array(jsonb_build_object('run_id', :'run', 'step_slug', 'a', 'output', (repeat('[', 1000) || repeat(']', 1000))::jsonb)));
select status, length(output::text) from t.run(:'run');

-- A payload and an output of five megabytes.
select pgflow.run_flow('bad', to_jsonb(repeat('x', 5000000))) as run \gset
select length(input::text) from t.claim('bad');
select * from t.complete(:'run', 'a', to_jsonb(repeat('y', 5000000)));
select status, length(output::text) from t.run(:'run');

-- Names of a megabyte in documents do not flood the message, which t.plain would have cut.
select document, split_part(error, ':', 1) as sqlstate, error not like '% characters)%' as short
from (values ('definition', 'define_flow(jsonb_build_object(repeat(''x'', 1000000), 1))'),
             ('results', 'settle_step_tasks(jsonb_build_array(jsonb_build_object(repeat(''x'', 1000000), 1)))')) v (document, call),
     lateral (select t.error('select pgflow.' || call) as error) e;

-- Numbers: huge, negative, fractions; kept as they are in payloads.
select pgflow.run_flow('bad', '[1e500, -1e-300, 123456789012345678901234567890.5, -0]') as run \gset
select input = '{"run": [1e500, -1e-300, 123456789012345678901234567890.5, 0]}' as same from t.claim('bad');
select value, t.sqlstate(format('select pgflow.define_flow(%L)', '{"flow_slug": "bad_number", "max_attempts": ' || value || ', "steps": []}'))
from (values ('1e100'), ('-1'), ('1.5'), ('2147483648'), ('9223372036854775808'), ('"1"'), ('true'), ('[]'), ('1e999')) v (value);
select call, t.sqlstate('select pgflow.' || call, :'run')
from (values ('run_flow(''bad'', priority => 2147483647)'), ('claim_step_tasks(''bad'', 2147483647)'), ('claim_step_tasks(''bad'', -2147483648)'),
  ('claim_step_tasks(''bad'', 1, 2147483647)'), ('extend_step_task($1, ''a'', lease_seconds => 2147483647)'), ('complete_step_task($1, ''a'', null, 2147483647)'),
  ('complete_step_task($1, ''a'', null, 0, -9223372036854775808)'), ('flow_graph(''bad'', -1)'), ('prune_runs(''170000000 years'')'), ('prune_runs(''-1 second'')'), ('prune_runs(''1000 years 1 second'')'), ('prune_runs(''1 day'', 2147483647)')) v (call);
select t.sqlstate($$select pgflow.run_flow('bad', start_at => 'infinity')$$) as infinity, t.sqlstate($$select pgflow.run_flow('bad', start_at => '-infinity')$$) as minus_infinity,
       t.sqlstate($$select pgflow.run_flow('bad', start_at => '294000-01-01')$$) as far;
select pgflow.delete_flow('bad', true);

-- Keys have 1 to 1024 bytes; a worker_id and a reason may be any text.
call t.flow('bad', '[{"step_slug": "a"}]');
select length, t.sqlstate(format('select pgflow.run_flow(''bad'', key => %L)', repeat('k', length))) as key,
       t.sqlstate(format('select pgflow.run_flow(''bad'', idempotency_key => %L)', repeat('k', length))) as idempotency_key,
       t.sqlstate(format('select pgflow.run_flows(''bad'', ''{1}'', array[%L])', repeat('k', length))) as idempotency_keys
from (values (0), (1), (1024), (1025), (1000000)) v (length);
call t.fails($$select pgflow.run_flow('bad', key => '')$$);
call t.fails($$select pgflow.run_flow('bad', idempotency_key => repeat('é', 600))$$);
select pgflow.delete_flow('bad', true);
call t.flow('bad', '[{"step_slug": "a"}]');
select pgflow.run_flow('bad', idempotency_key => E'o''clock "🦆"\n', key => E'o''clock "🦆"\n') as run \gset
select pgflow.run_flow('bad', idempotency_key => E'o''clock "🦆"\n') = :'run' as same;
select count(*) from t.claim('bad', 1, worker_id => repeat('w', 1000000));
select length(error_message) from pgflow.cancel_run(:'run', repeat('r', 1000000));
select pgflow.delete_flow('bad', true);

-- Ten thousand deps of one step.
select changed from pgflow.define_flow((select jsonb_build_object('flow_slug', 'bad_deps', 'steps', jsonb_agg(jsonb_build_object('step_slug', 's' || n))
  || jsonb_build_array(jsonb_build_object('step_slug', 'join', 'deps_slugs', jsonb_agg('s' || n)))) from generate_series(1, 10000) n));
select pgflow.run_flow('bad_deps') as run \gset
select t.work('bad_deps');
select status, output from t.run(:'run');
select count(*) from pgflow.step_tasks where run_id = :'run';
select pgflow.delete_flow('bad_deps', true);
-- More steps than a flow may have.
call t.fails($$select pgflow.define_flow((select jsonb_build_object('flow_slug', 'bad_steps', 'steps', jsonb_agg(jsonb_build_object('step_slug', 's' || n))) from generate_series(1, 20001) n))$$);

-- A hostile search_path: tables, functions and operators that stand in front.
create schema hostile;
create table hostile.runs (run_id uuid);
create table hostile.flows (flow_slug text);
create function hostile.clock_timestamp() returns timestamptz language plpgsql as $$ begin raise 'hostile'; end $$;
create function hostile.now() returns timestamptz language plpgsql as $$ begin raise 'hostile'; end $$;
create function hostile.equal(text, text) returns boolean language plpgsql as $$ begin raise 'hostile'; end $$;
create operator hostile.= (leftarg = text, rightarg = text, function = hostile.equal);
create function hostile.contains(jsonb, jsonb) returns boolean language plpgsql as $$ begin raise 'hostile'; end $$;
create operator hostile.@> (leftarg = jsonb, rightarg = jsonb, function = hostile.contains);
create function hostile.count(bigint) returns bigint language plpgsql as $$ begin raise 'hostile'; end $$;
call t.flow('hostile', '[{"step_slug": "a", "required_input_pattern": {"x": 1}}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}]', '{"max_attempts": 1}');
set search_path = hostile, pg_catalog;
select pgflow.run_flow('hostile', '{"x": 1}') as run \gset
select step_slug from pgflow.claim_step_tasks('hostile');
select accepted from pgflow.complete_step_task(:'run', 'a', '[1]');
select step_slug from pgflow.claim_step_tasks('hostile');
select accepted from pgflow.fail_step_task(:'run', 'm', 'no');
select status from pgflow.retry_run(:'run');
select status from pgflow.cancel_run(:'run');
select run_id is not null as forked from pgflow.fork_run(:'run', '{a}') run_id;
select pgflow.flow_graph('hostile') is not null as graph, pgflow.get_run(:'run') is not null as run;
select changed from pgflow.define_flow('{"flow_slug": "hostile", "steps": [{"step_slug": "b"}]}');
select * from pgflow.check_integrity();
select pgflow.delete_flow('hostile', true);
reset search_path;
set client_min_messages = warning;
drop schema hostile cascade;
reset client_min_messages;

-- A run of a deleted flow.
call t.flow('bad', '[{"step_slug": "a"}]');
select pgflow.run_flow('bad') as run \gset
select step_slug from t.claim('bad');
select pgflow.delete_flow('bad', true);
select t.sqlstate('select pgflow.' || call, :'run')
from (values ('complete_step_task($1, ''a'')'), ('cancel_run($1)'), ('retry_run($1)'), ('fork_run($1, ''{a}'')'), ('get_run($1)'), ('start_step($1, ''a'')')) v (call);
select * from pgflow.check_integrity();
