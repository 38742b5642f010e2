-- Each change of a run or step of a published flow is told once, in order, and never if it is rolled back.
-- A stand-in for Supabase Realtime, with the signature and the manners of its send().
create schema realtime;
create table realtime.messages (
  n bigint generated always as identity, payload jsonb, event text, topic text, private boolean, sent_as name);
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
begin
  execute format('set local realtime.topic to %L', topic);
  insert into realtime.messages (payload, event, topic, private, sent_as)
  values (payload, event, topic, private, current_user);
end $$;

-- What was sent since the last look; runs are numbered in the order in which they appear.
create function t.sent(details boolean default false) returns table (run bigint, event text, details jsonb)
language sql as $$
  with gone as (
    delete from realtime.messages returning *
  )
  select dense_rank() over (order by g.first), g.event,
         case when details then g.payload - array['event_type', 'run_id', 'started_at', 'finished_at', 'flow_slug', 'step_slug', 'status'] end
  from (select *, min(n) over (partition by topic) as first from gone) g
  order by g.n
$$;

-- Off, nothing is sent.
call t.flow('rt', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('rt') as run \gset
select * from t.sent();

-- On, also for a run under way.
select pgflow.set_realtime('rt');
select flow_slug, is_private, enabled_by = current_user as by_me from pgflow.realtime_flows;
select step_slug from t.claim('rt');
select accepted from t.complete(:'run', 'a', '{"x": 1}');
select step_slug from t.claim('rt');
select accepted, run_status from t.complete(:'run', 'b', 'null');
select * from t.sent(true);

-- A message, from end to end.
select pgflow.run_flow('rt') as run \gset
select m.event, m.topic = 'pgflow:run:' || :'run' as topic, m.private, m.sent_as = current_user as as_owner,
       m.payload ->> 'event_type' as event_type, m.payload ->> 'run_id' = :'run' as run_id, m.payload ->> 'flow_slug' as flow_slug,
       m.payload ->> 'step_slug' as step_slug, m.payload ->> 'status' as status,
       (m.payload ->> 'started_at')::timestamptz = r.started_at as started_at, m.payload ? 'finished_at' as has_end
from realtime.messages m, pgflow.runs r where r.run_id = :'run' order by m.n;
-- The caller is a chain: the order holds from the first to the last.
select t.work('rt');
select * from t.sent();

-- The setting that send() makes is undone; so are those that it finds.
select current_setting('realtime.topic', true) as topic, current_setting('search_path') as search_path;

-- Rolled back, wholly or in part.
begin;
select pgflow.run_flow('rt') as run \gset
rollback;
begin;
savepoint before;
select pgflow.run_flow('rt') as run \gset
rollback to before;
select pgflow.run_flow('rt') as run \gset
commit;
select status from pgflow.cancel_run(:'run', 'enough');
select * from t.sent(true);

-- A map: steps, not tasks. An empty one is over at once.
call t.flow('rt_map', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]');
select pgflow.set_realtime('rt_map');
select pgflow.run_flow('rt_map', '[1, 2, 3]') as run \gset
select t.work('rt_map');
select * from t.sent(true);
select pgflow.run_flow('rt_map', '[]') as run \gset
select * from t.sent(true);

-- A cascade of skips goes along the edges, however the steps are numbered.
call t.flow('rt_skip', '[
  {"step_slug": "last", "deps_slugs": ["middle", "first"]},
  {"step_slug": "middle", "deps_slugs": ["first"]},
  {"step_slug": "other"},
  {"step_slug": "first", "required_input_pattern": {"go": true}, "when_unmet": "skip-cascade"}]');
select pgflow.set_realtime('rt_skip');
select pgflow.run_flow('rt_skip') as run \gset
select * from t.sent(true);
select t.work('rt_skip');
select * from t.sent();

-- Failure: the step, what is called off with it, the run.
call t.flow('rt_fail', '[
  {"step_slug": "z", "deps_slugs": ["y"]}, {"step_slug": "y", "deps_slugs": ["x"]}, {"step_slug": "x"},
  {"step_slug": "w", "max_attempts": 1}]', '{"max_attempts": 2}');
select pgflow.set_realtime('rt_fail');
select pgflow.run_flow('rt_fail') as run \gset
select step_slug from t.claim('rt_fail');
select accepted, step_status, run_status from t.fail(:'run', 'x', 'again', retry_after => 0);
select accepted, step_status, run_status from t.fail(:'run', 'w', 'broken');
select * from t.sent(true);

-- A retry starts the run again, and what is left of it.
select status from pgflow.retry_run(:'run');
select * from t.sent(true);
select t.work('rt_fail');
select * from t.sent();

-- A fork is a run of its own; what it keeps has not changed.
select pgflow.fork_run(:'run', array['y']) as fork \gset
select t.work('rt_fail');
select * from t.sent();

-- External steps, also one whose event was sent before.
call t.flow('rt_event', '[{"step_slug": "a", "executor": "external", "target": "rt_go"}, {"step_slug": "b", "deps_slugs": ["a"], "executor": "external"}]');
select pgflow.set_realtime('rt_event');
select pgflow.run_flow('rt_event', key => 'k1') as run \gset
select pgflow.send_event('rt_go', '"sent"', 'k1');
select accepted, run_status from pgflow.complete_step(:'run', 'b', '"done"');
select * from t.sent(true);
select pgflow.send_event('rt_go', '"early"', 'k2');
select pgflow.run_flow('rt_event', key => 'k2') as run \gset
select * from t.sent(true);
select status from pgflow.cancel_run(:'run');
select * from t.sent();

-- Child flows: a parent's step before its child, the child's end before what follows in the parent.
call t.flow('rt_parent', '[{"step_slug": "p", "executor": "flow", "target": "rt"}, {"step_slug": "q", "deps_slugs": ["p"]}]');
select pgflow.set_realtime('rt_parent');
select pgflow.run_flow('rt_parent') as run \gset
call t.upkeep();
select t.work('rt');
select * from t.sent();
select pgflow.run_flow('rt_parent') as run \gset
call t.upkeep();
select status from pgflow.cancel_run(:'run');
select * from t.sent(true);

-- A batch over several runs: each run in order.
select count(*) from pgflow.run_flows('rt', array['1', '2', '3']::jsonb[]);
select t.work('rt');
select run, array_agg(event order by ordinality) as events from t.sent() with ordinality group by run order by run;

-- A run that starts later: nobody hears of a step before its run.
select pgflow.run_flow('rt', start_at => clock_timestamp() + interval '1 hour') as run \gset
select * from t.sent();
call t.due(:'run');
select step_slug from t.claim('rt');
select * from t.sent();
select t.work('rt');
select status from pgflow.cancel_run(:'run');
select * from t.sent();
select pgflow.run_flow('rt', start_at => clock_timestamp() + interval '1 hour') as run \gset
select status from pgflow.cancel_run(:'run');
select * from t.sent();
select pgflow.run_flow('rt_map', '[]', start_at => clock_timestamp() + interval '1 hour') as run \gset
select * from t.sent();

-- A manual step, a flow without steps, a run that takes too long.
call t.flow('rt_manual', '[{"step_slug": "a", "start_mode": "manual"}]', '{"run_timeout": 1}');
select pgflow.set_realtime('rt_manual');
select pgflow.run_flow('rt_manual') as run \gset
select * from t.sent();
select status from pgflow.start_step(:'run', 'a');
select * from t.sent();
update pgflow.run_deadlines set due_at = clock_timestamp() - interval '1 second' where run_id = :'run';
call t.upkeep();
select * from t.sent(true);
call t.flow('rt_empty', '[]');
select pgflow.set_realtime('rt_empty');
select pgflow.run_flow('rt_empty') as run \gset
select * from t.sent(true);

-- What is too large is left out, and said to be.
set pgflow.realtime_max_bytes = 20;
select pgflow.run_flow('rt') as run \gset
select step_slug from t.claim('rt');
select accepted from t.complete(:'run', 'a', to_jsonb(repeat('x', 18)));
select step_slug from t.claim('rt');
select accepted from t.complete(:'run', 'b', to_jsonb(repeat('x', 19)));
select * from t.sent(true);
select pgflow.run_flow('rt') as run \gset
select step_slug from t.claim('rt');
select accepted from t.fail(:'run', 'a', repeat('y', 1001), retryable => false);
select event, length(details ->> 'error_message'), details ->> 'fetch' from t.sent(true);
reset pgflow.realtime_max_bytes;

-- Public topics.
select pgflow.set_realtime('rt', private => false);
select pgflow.run_flow('rt') as run \gset
select event, private from realtime.messages order by n;
select * from t.sent();
select status from pgflow.cancel_run(:'run');

-- A run of many steps.
select count(*) from (select pgflow.set_realtime('rt_many') from pgflow.define_flow(jsonb_build_object('flow_slug', 'rt_many', 'steps',
  (select jsonb_agg(jsonb_build_object('step_slug', 's' || i)) from generate_series(1, 3000) i)))) made;
select count(*) from t.sent() where event <> '';
select pgflow.run_flow('rt_many') as run \gset
select event, count(*) from (select regexp_replace(event, ':s\d+', ':s') as event from t.sent()) s group by event order by event;
select status from pgflow.cancel_run(:'run');
select event, count(*) from (select regexp_replace(event, ':s\d+', ':s') as event from t.sent()) s group by event order by event;

-- A send() that fails spoils nothing.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
begin
  insert into realtime.messages (event) values ('undone');
  perform set_config('work_mem', '1MB', false);
  if event = 'run:started' then
    return;
  end if;
  raise exception 'realtime is down' using errcode = case when event = 'step:b:completed' then '40001' else 'P0001' end;
end $$;
select pgflow.run_flow('rt') as run \gset
select step_slug from t.claim('rt');
select accepted, step_status from t.complete(:'run', 'a', '1');
select t.work('rt');
select * from t.sent();
select status from t.run(:'run');
select current_setting('work_mem') <> '1MB' as work_mem_is_as_it_was;
-- One that is told to be cancelled is not held back.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$ begin perform pg_sleep(10); end $$;
set statement_timeout = '200ms';
select pgflow.run_flow('rt');
reset statement_timeout;
-- One with another signature is none.
drop function realtime.send;
create function realtime.send(payload json, event text, topic text, private boolean) returns void
language plpgsql as $$ begin raise exception 'not me'; end $$;
select pgflow.run_flow('rt') is not null as runs;
set client_min_messages = warning;
drop schema realtime cascade;
reset client_min_messages;

-- Off again, and gone with its flow.
select pgflow.set_realtime('rt', false);
select pgflow.set_realtime('rt', false);
select pgflow.delete_flow(flow_slug, true) from pgflow.flows where flow_slug like 'rt\_%' or flow_slug = 'rt' order by flow_slug;
select * from pgflow.realtime_flows;
call t.fails($$select pgflow.set_realtime('rt')$$);
call t.fails($$select pgflow.set_realtime(null)$$);
call t.fails($$select pgflow.set_realtime('rt', null)$$);
call t.fails($$select pgflow.set_realtime('rt', true, null)$$);
select * from pgflow.check_integrity();
