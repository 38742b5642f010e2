\pset null <null>
-- An event completes the steps that wait for its name in runs with its key.
call t.flow('events', '[
  {"step_slug": "paid", "executor": "external", "target": "paid"},
  {"step_slug": "ship", "deps_slugs": ["paid"]}]');
select pgflow.run_flow('events', key => 'a') as a \gset
select pgflow.run_flow('events', key => 'a') as a2 \gset
select pgflow.run_flow('events', key => 'b') as b \gset
select pgflow.run_flow('events') as none \gset
select step_slug, task_index, name, key, times_out_at from pgflow.event_waiters where run_id in (:'a', :'none') order by key;
select pgflow.send_event('paid', '{"sum": 5}', 'a');
select * from t.steps(:'a');
select * from t.steps(:'a2');
select * from t.steps(:'b');
select input from t.claim('events');
-- Without a key: for runs that have none.
select pgflow.send_event('paid');
select * from t.steps(:'none');
select * from t.steps(:'b');
-- Another name is another event.
select pgflow.send_event('Paid', '1', 'b'), pgflow.send_event('paid ', '1', 'b'), pgflow.send_event('paid', '1', 'B');
select * from t.steps(:'b');
-- A null payload is JSON null.
select pgflow.send_event('paid', null, 'b');
select * from t.steps(:'b');
select count(*) from pgflow.event_waiters;

-- An external step without a target waits for no event.
call t.flow('events_none', '[{"step_slug": "s", "executor": "external"}]');
select pgflow.run_flow('events_none', key => 'a') as run \gset
select count(*) from pgflow.event_waiters where run_id = :'run';

-- complete_step comes first; the event that follows is kept, and has nobody to complete.
select pgflow.run_flow('events', key => 'c') as run \gset
select accepted from pgflow.complete_step(:'run', 'paid', '"by hand"');
select pgflow.send_event('paid', '"late"', 'c');
select * from t.steps(:'run');
select payload, taken_at is null as is_free from pgflow.events where key = 'c';

-- Two events for one waiting step: the first wins, the second is nobody's.
select pgflow.run_flow('events', key => 'd') as run \gset
select pgflow.send_event('paid', '1', 'd'), pgflow.send_event('paid', '2', 'd');
select * from t.steps(:'run');
select payload, taken_at is null as is_free from pgflow.events where key = 'd' order by event_id;

-- All elements of a map are completed by one event, which is one step.
call t.flow('events_map', '[{"step_slug": "m", "step_type": "map", "executor": "external", "target": "go"}, {"step_slug": "s", "deps_slugs": ["m"]}]');
select pgflow.run_flow('events_map', '[1, 2, 3]', key => 'a') as run \gset
select accepted, step_status from pgflow.complete_step_task(:'run', 'm', '"x"', 1);
select count(*) from pgflow.event_waiters where run_id = :'run';
select pgflow.send_event('go', '"y"', 'a');
select * from t.steps(:'run');
select pgflow.run_flow('events_map', (select jsonb_agg(n) from generate_series(1, 250) n), key => 'large') as run \gset
select pgflow.send_event('go', '1', 'large');
select step_slug, status, jsonb_array_length(output) from t.steps(:'run');

-- Two runs wait, one step of one and two of another: three steps.
call t.flow('events_two', '[
  {"step_slug": "a", "executor": "external", "target": "go"},
  {"step_slug": "b", "executor": "external", "target": "go"},
  {"step_slug": "c", "executor": "external", "target": "stop"}]');
select pgflow.run_flow('events_two', key => 'two') as run, pgflow.run_flow('events_map', '[1]', key => 'two') \gset
select pgflow.send_event('go', '1', 'two');
select * from t.steps(:'run');
select pgflow.send_event('stop', '1', 'two');
select * from t.run(:'run');

-- A step that feeds a map wants an array.
call t.flow('events_feed', '[{"step_slug": "list", "executor": "external", "target": "list"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["list"]}]');
select pgflow.run_flow('events_feed', key => 'good') as good, pgflow.run_flow('events_feed', key => 'bad') as bad \gset
select pgflow.send_event('list', '[7]', 'good'), pgflow.send_event('list', '7', 'bad');
select * from t.steps(:'good');
select * from t.run(:'bad');

-- Its timeout is the step's, and no event brings back what timed out.
call t.flow('events_timeout', '[
  {"step_slug": "s", "executor": "external", "target": "in_time", "timeout": 60, "when_exhausted": "skip"},
  {"step_slug": "t", "deps_slugs": ["s"]}]');
select pgflow.run_flow('events_timeout', key => 'a') as run \gset
select t.lease_expires_at = w.times_out_at as same from pgflow.live_tasks t join pgflow.event_waiters w using (run_id, step_slug, task_index) where run_id = :'run';
call t.expire(:'run');
select input from t.claim('events_timeout');
select * from t.steps(:'run');
select pgflow.send_event('in_time', '1', 'a');
select * from t.steps(:'run');
-- Event and timeout at one moment: who comes first. Nobody has swept the queue, so the event does.
select pgflow.run_flow('events_timeout', key => 'b') as run \gset
call t.expire(:'run');
select pgflow.send_event('in_time', '1', 'b');
select * from t.claim('events_timeout');
-- Extended, it times out later.
select pgflow.run_flow('events_timeout', key => 'c') as run \gset
select accepted from pgflow.extend_step_task(:'run', 's', lease_seconds => 1000);
select t.lease_expires_at = w.times_out_at as same, times_out_at > now() + interval '900 s' as later
from pgflow.live_tasks t join pgflow.event_waiters w using (run_id, step_slug, task_index) where run_id = :'run';
-- A sweep that finds a lease at its end before the timeout, and no event, puts it back.
update pgflow.live_tasks set lease_expires_at = now() where run_id = :'run';
select * from t.claim('events_timeout');
select t.lease_expires_at = w.times_out_at as same from pgflow.live_tasks t join pgflow.event_waiters w using (run_id, step_slug, task_index) where run_id = :'run';
-- An extension leaves it to look again first.
update pgflow.live_tasks set lease_expires_at = now() - interval '1 s' where run_id = :'run';
select accepted from pgflow.extend_step_task(:'run', 's', lease_seconds => 2000);
select lease_expires_at < now() as looks_again from pgflow.live_tasks where run_id = :'run';
select * from t.claim('events_timeout');
select lease_expires_at > now() + interval '1900 s' as later from pgflow.live_tasks where run_id = :'run';

-- No row of a waiter outlives its task: cancelled, failed, skipped, deleted.
call t.flow('events_end', '[
  {"step_slug": "a", "executor": "external", "target": "never"},
  {"step_slug": "m", "step_type": "map", "executor": "external", "target": "never", "when_exhausted": "skip"},
  {"step_slug": "w"}]');
select pgflow.run_flow('events_end', '[1, 2]') as run \gset
select count(*) from pgflow.event_waiters where run_id = :'run';
select status from pgflow.cancel_run(:'run');
select count(*) from pgflow.event_waiters where run_id = :'run';
select pgflow.run_flow('events_end', '[1, 2]') as run \gset
select accepted, step_status from pgflow.fail_step_task(:'run', 'm', 'no', 1);
select count(*) from pgflow.event_waiters where run_id = :'run';
select accepted, run_status from pgflow.fail_step_task(:'run', 'a', 'no');
select count(*) from pgflow.event_waiters where run_id = :'run';
-- Retried, it waits again, and for what is sent from then on.
select status from pgflow.retry_run(:'run');
select step_slug, task_index from pgflow.event_waiters where run_id = :'run' order by 1, 2;
select pgflow.send_event('never', '"at last"');
select * from t.steps(:'run');
select pgflow.run_flow('events_end', '[1, 2]') as run \gset
select pgflow.delete_flow('events_end', true);
select count(*) from pgflow.event_waiters where run_id = :'run';

-- A run that is to start later is opened by its event, as by complete_step.
select pgflow.run_flow('events', key => 'later', start_at => now() + interval '1 day') as run \gset
select pgflow.send_event('paid', '1', 'later');
select status, output from t.run(:'run');

-- More runs wait than one call may lock: the first thousand are settled, the others by whoever sweeps their queue.
select count(pgflow.run_flow('events', key => 'many')) from generate_series(1, 1005);
select pgflow.send_event('paid', '1', 'many');
select s.status, count(*) from pgflow.step_states s join pgflow.runs r using (run_id) where key = 'many' and step_slug = 'paid' group by 1 order by 1;
select is_open from pgflow.events where key = 'many';
select count(*) from pgflow.claim_step_tasks('events', 10);
select s.status, count(*) from pgflow.step_states s join pgflow.runs r using (run_id) where key = 'many' and step_slug = 'paid' group by 1 order by 1;
-- Who starts later has no part in it, though it is still open.
select pgflow.run_flow('events', key => 'many') as run \gset
select * from t.steps(:'run');

call t.fails($$select pgflow.send_event(null)$$);
call t.fails($$select pgflow.send_event('')$$);
call t.fails($$select pgflow.send_event(E'a\nb')$$);
call t.fails($$select pgflow.send_event(repeat('x', 1025))$$);
call t.fails($$select pgflow.send_event('x', '1', '')$$);
call t.fails($$select pgflow.send_event('x', '1', repeat('x', 1025))$$);
call t.fails($$select pgflow.add_step('events', 'x', executor => 'external', target => '')$$);
call t.fails($$call t.flow('events_bad', '[{"step_slug": "x", "executor": "external", "target": "a\tb"}]')$$);
select * from pgflow.check_integrity();
