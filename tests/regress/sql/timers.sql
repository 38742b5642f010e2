\pset null <null>
set timezone = 'UTC';
-- A timer is started when its deps are resolved, and over start_delay seconds later.
call t.flow('timer', '[{"step_slug": "a", "executor": "timer", "start_delay": 60}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('timer') as run \gset
select step_slug, status from t.steps(:'run');
select lease_expires_at - created_at as lasts from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run';
select * from t.claim('timer');
-- Nobody works it: it cannot be extended, released or failed.
select accepted, task_status from pgflow.extend_step_task(:'run', 'a', lease_seconds => 1);
select accepted, task_status from pgflow.release_step_task(:'run', 'a');
select accepted, task_status from pgflow.fail_step_task(:'run', 'a', 'no');
select lease_expires_at - created_at as lasts from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run';
-- Whoever sweeps its queue completes it, with the time at which it was over.
call t.expire(:'run');
select lease_expires_at as due from pgflow.live_tasks where run_id = :'run' \gset
select step_slug from t.claim('timer');
select output = to_jsonb(:'due'::timestamptz) as is_due from t.steps(:'run') where step_slug = 'a';
-- An operator may end it early.
select pgflow.run_flow('timer') as run \gset
select accepted, step_status from pgflow.complete_step(:'run', 'a', '"early"');
select step_slug, input from t.claim('timer');

-- Without a delay it is over at once, in the same call.
call t.flow('timer_now', '[{"step_slug": "a", "executor": "timer"}, {"step_slug": "b", "executor": "timer", "start_delay": 0, "deps_slugs": ["a"]}]');
select pgflow.run_flow('timer_now') as run \gset
select status, (output ->> 'b')::timestamptz = created_at as at_once from pgflow.runs where run_id = :'run';
-- But not before its run starts.
select pgflow.run_flow('timer_now', start_at => now() + interval '1 hour') as run \gset
select r.status, lease_expires_at = start_at as at_start from pgflow.live_tasks t join pgflow.runs r using (run_id) where run_id = :'run';

-- The time stands in the input.
call t.flow('timer_at', '[{"step_slug": "a", "executor": "timer", "target": "/run/remind_at", "when_exhausted": "skip"}]');
create function t.timer(payload jsonb) returns text language plpgsql as $$
declare
  run uuid := pgflow.run_flow('timer_at', payload);
begin
  return coalesce((select 'due ' || case when lease_expires_at > now() + interval '1 year' then lease_expires_at::text
                                         else (lease_expires_at - created_at)::text end
                   from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = run),
                  (select coalesce(s.error_message, case when (s.output #>> '{}')::timestamptz = r.created_at then 'over at once'
                                                         else s.status || ' ' || s.output end)
                   from pgflow.step_states s join pgflow.runs r using (run_id) where run_id = run));
end $$;
select left(value::text, 45) as value, t.timer(jsonb_build_object('remind_at', value)) from jsonb_array_elements('[
  "2999-12-24T18:00:00Z", "2999-12-24T18:00:00.5+01:00", "2999-12-24 18:00:00-05", "2999-12-24T18:00", "9999-12-31T23:59:59Z",
  "2001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", 0, 5, 0.25, 1e2,
  null, "", "tomorrow", "2999-12-24", "18:00:00", "2999-02-29T00:00:00Z", "2999-12-24T18:00:00+01:00[Europe/Paris]", "infinity",
  -1, 1e400, 1581120001, true, {"at": 5}, [5]]');
select value, left(t.timer(value), 70) from jsonb_array_elements('[{}, [], "x", null]');
select left(t.timer(jsonb_build_object('remind_at', repeat('x', 1000000))), 80);
-- As PostgreSQL writes it itself.
select t.timer(jsonb_build_object('remind_at', '2999-01-01 00:00:00+02'::timestamptz));
-- A bad time is when_exhausted, for good.
select pgflow.run_flow('timer_at', '{"remind_at": "never"}') as run \gset
select * from t.steps(:'run');
select * from t.tasks(:'run');
call t.flow('timer_bad', '[{"step_slug": "a", "executor": "timer", "target": "/run/at"}]');
select pgflow.run_flow('timer_bad', '{"at": "never"}') as run \gset
select * from t.run(:'run');
select status, error_message from pgflow.retry_run(:'run');
select * from t.tasks(:'run');

-- start_delay comes on top.
call t.flow('timer_after', '[{"step_slug": "a", "executor": "timer", "target": "/run/at", "start_delay": 3600}]');
select pgflow.run_flow('timer_after', '{"at": "2999-01-01T00:00:00Z"}') as run \gset
select lease_expires_at from pgflow.live_tasks where run_id = :'run';
select pgflow.run_flow('timer_after', '{"at": 60}') as run \gset
select lease_expires_at - created_at as lasts from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run';
select pgflow.run_flow('timer_after', '{"at": "2001-01-01T00:00:00Z"}') as run \gset
select * from t.run(:'run');
-- A run that starts later: seconds count from its start, and what has passed by then is over then.
select pgflow.run_flow('timer_after', '{"at": 60}', start_at => now() + interval '1 day') as run \gset
select lease_expires_at - start_at as lasts from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run';
select pgflow.run_flow('timer_after', '{"at": "2001-01-01T00:00:00Z"}', start_at => now() + interval '1 day') as run \gset
select lease_expires_at - start_at as lasts from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run';

-- In the output of a dep, deep in it, in an element of a map.
call t.flow('timer_deep', '[
  {"step_slug": "fetch"},
  {"step_slug": "t", "executor": "timer", "target": "/fetch/next/1/a~1t", "deps_slugs": ["fetch"], "when_exhausted": "skip"}]');
create function t.deep(output jsonb) returns text language plpgsql as $$
declare
  run uuid := pgflow.run_flow('timer_deep');
begin
  perform t.claim('timer_deep');
  perform t.complete(run, 'fetch', output);
  return coalesce((select 'due ' || lease_expires_at from pgflow.live_tasks where run_id = run),
                  (select error_message from pgflow.step_states where run_id = run and step_slug = 't'));
end $$;
select value, t.deep(value) from jsonb_array_elements('[
  {"next": [0, {"a/t": "2999-01-01T00:00:00Z"}]}, {"next": {"1": {"a/t": "2999-01-01T00:00:00Z"}}},
  {"next": [{"a/t": 1}]}, {"next": "x"}, {"next": null}, 5]');
call t.flow('timer_skipped', '[
  {"step_slug": "fetch", "required_input_pattern": {"x": 1}},
  {"step_slug": "t", "executor": "timer", "target": "/fetch", "deps_slugs": ["fetch"]}]');
select pgflow.run_flow('timer_skipped') as run \gset
select * from t.run(:'run');
-- What looks like an index to PostgreSQL is none for RFC 6901.
call t.flow('timer_index', '[{"step_slug": "t", "executor": "timer", "target": "/run/-1"}, {"step_slug": "u", "executor": "timer", "target": "/run/00"}]');
select pgflow.run_flow('timer_index', '{"-1": 60, "00": 60}') as run \gset
select count(*) from pgflow.live_tasks where run_id = :'run';
select pgflow.run_flow('timer_index', '[60]') as run \gset
select * from t.run(:'run');
call t.flow('timer_map', '[{"step_slug": "m", "step_type": "map", "executor": "timer", "target": "/item/at"}, {"step_slug": "s", "deps_slugs": ["m"]}]');
select pgflow.run_flow('timer_map', '[{"at": "2001-01-01T00:00:00Z"}, {"at": 60}, {"at": "2999-01-01T00:00:00Z"}]') as run \gset
select task_index, status, output from t.tasks(:'run');
call t.expire(:'run');
select step_slug from t.claim('timer_map');
select pgflow.run_flow('timer_map', '[{"at": "2001-01-01T00:00:00Z"}, {}, {"at": 60}]') as run \gset
select * from t.run(:'run');
select task_index, status from t.tasks(:'run');
-- Retried, it has its time again.
select pgflow.run_flow('timer_map', '[{"at": "2001-01-01T00:00:00Z"}, {"at": 60}]') as run \gset
select status from pgflow.cancel_run(:'run');
select status from pgflow.retry_run(:'run');
select task_index, attempt, status from t.tasks(:'run');
select round(extract(epoch from lease_expires_at - queued_at)) as lasts
from pgflow.live_tasks join pgflow.step_tasks using (run_id, step_slug, task_index, attempt) where run_id = :'run';
call t.flow('timer_map_now', '[{"step_slug": "m", "step_type": "map", "executor": "timer"}]');
select pgflow.run_flow('timer_map_now', (select jsonb_agg(n) from generate_series(1, 150) n)) as run \gset
select status, jsonb_array_length(output -> 'm') from t.run(:'run');
call t.flow('timer_by_index', '[{"step_slug": "m", "step_type": "map", "executor": "timer", "target": "/index", "start_delay": 100}]');
select pgflow.run_flow('timer_by_index', '["a", "b"]') as run \gset
select lease_expires_at - created_at as lasts from pgflow.live_tasks join pgflow.runs using (run_id) where run_id = :'run' order by 1;

-- The pointer is checked when the step is defined.
call t.fails($$select pgflow.add_step('timer', 'x', executor => 'timer', target => 'run/at')$$);
call t.fails($$select pgflow.add_step('timer', 'x', executor => 'timer', target => '')$$);
call t.fails($$select pgflow.add_step('timer', 'x', executor => 'timer', target => '/run/~2')$$);
call t.fails($$select pgflow.add_step('timer', 'x', executor => 'timer', target => '/other/at')$$);
call t.fails($$select pgflow.add_step('timer', 'x', executor => 'timer', target => '/run/at', step_type => 'map')$$);
call t.fails($$call t.flow('timer_bad', '[{"step_slug": "x", "executor": "timer", "target": "/item/at"}]')$$);
select * from pgflow.check_integrity();
