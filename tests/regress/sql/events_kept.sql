\pset null <null>
-- An event that comes before its waiter is kept for it.
call t.flow('kept', '[
  {"step_slug": "first"},
  {"step_slug": "paid", "executor": "external", "target": "kept_paid", "deps_slugs": ["first"]},
  {"step_slug": "ship", "deps_slugs": ["paid"]}]');
select pgflow.run_flow('kept', key => 'a') as run \gset
select pgflow.send_event('kept_paid', '1', 'a');
select taken_at from pgflow.events where name = 'kept_paid';
select step_slug from t.claim('kept');
select * from t.complete(:'run', 'first');
select * from t.steps(:'run');
select count(*) from pgflow.event_waiters;
-- It was used: the next run waits for one of its own.
select pgflow.run_flow('kept', key => 'a') as run \gset
select step_slug from t.claim('kept', 1);
select step_slug from t.claim('kept', 1);
select accepted from t.complete(:'run', 'first');
select * from t.steps(:'run');
select pgflow.send_event('kept_paid', '2', 'a');
select * from t.steps(:'run');

-- The first one wins, and the others stay for who comes next.
select pgflow.send_event('kept_root', n::text::jsonb, 'b') from generate_series(1, 2) n;
call t.flow('kept_root', '[{"step_slug": "s", "executor": "external", "target": "kept_root"}]');
select pgflow.run_flow('kept_root', key => 'b') as run \gset
select * from t.run(:'run');
select pgflow.run_flow('kept_root', key => 'b') as run \gset
select * from t.run(:'run');
select pgflow.run_flow('kept_root', key => 'b') as run \gset
select * from t.run(:'run');
-- With another key, or none, it is another event.
select pgflow.send_event('kept_root', '3', 'c');
select pgflow.run_flow('kept_root') as run \gset
select * from t.run(:'run');
select pgflow.run_flow('kept_root', key => 'd') as run \gset
select * from t.run(:'run');

-- All branches of a run get it, whenever they begin; runs that existed when it was taken do, too.
call t.flow('kept_branches', '[
  {"step_slug": "now", "executor": "external", "target": "kept_branches"},
  {"step_slug": "work"},
  {"step_slug": "later", "executor": "external", "target": "kept_branches", "deps_slugs": ["work"]}]');
select pgflow.run_flow('kept_branches', key => 'a') as one \gset
select pgflow.run_flow('kept_branches', key => 'a') as other \gset
select pgflow.send_event('kept_branches', '1', 'a');
select step_slug from t.claim('kept_branches');
select accepted from t.complete(:'one', 'work');
select * from t.run(:'one');
select accepted from t.complete(:'other', 'work');
select * from t.run(:'other');
-- Also a step that waits for the same event as the one before it.
call t.flow('kept_chain', '[
  {"step_slug": "a", "executor": "external", "target": "kept_chain"},
  {"step_slug": "b", "executor": "external", "target": "kept_chain", "deps_slugs": ["a"]}]');
select pgflow.run_flow('kept_chain') as run \gset
select pgflow.send_event('kept_chain', '1');
select * from t.run(:'run');

-- A map takes it for all its elements.
call t.flow('kept_map', '[{"step_slug": "m", "step_type": "map", "executor": "external", "target": "kept_map"}]');
select pgflow.send_event('kept_map', '"x"');
select pgflow.run_flow('kept_map', '[1, 2, 3]') as run \gset
select * from t.run(:'run');
select count(*) from pgflow.event_waiters where run_id = :'run';

-- Many runs at once.
call t.flow('kept_bulk', '[{"step_slug": "s", "executor": "external", "target": "kept_bulk"}]');
select pgflow.send_event('kept_bulk', '1');
select count(*) from pgflow.run_flows('kept_bulk', array(select '{}'::jsonb from generate_series(1, 1500)));
select status, count(*) from pgflow.runs where flow_slug = 'kept_bulk' group by 1;
select count(*) from pgflow.run_flows('kept_bulk', array['{}'::jsonb]);
select status, count(*) from pgflow.runs where flow_slug = 'kept_bulk' group by 1 order by 1;

-- A manual step, a retried and a forked one look as well.
call t.flow('kept_manual', '[{"step_slug": "s", "executor": "external", "target": "kept_manual", "start_mode": "manual"}]');
select pgflow.run_flow('kept_manual') as run \gset
select pgflow.send_event('kept_manual', '1');
select * from t.run(:'run');
select status, output from pgflow.start_step(:'run', 's');
call t.flow('kept_retry', '[{"step_slug": "s", "executor": "external", "target": "kept_retry"}]');
select pgflow.run_flow('kept_retry') as run \gset
select status from pgflow.cancel_run(:'run');
select pgflow.send_event('kept_retry', '1');
select status, output from pgflow.retry_run(:'run');
select pgflow.fork_run(:'run', '{s}') as run \gset
select * from t.run(:'run');
select pgflow.send_event('kept_retry', '2');
select * from t.run(:'run');

-- A step that is skipped takes nothing.
call t.flow('kept_unmet', '[{"step_slug": "s", "executor": "external", "target": "kept_unmet", "required_input_pattern": {"go": true}}]');
select pgflow.send_event('kept_unmet', '1');
select pgflow.run_flow('kept_unmet') as run \gset
select taken_at from pgflow.events where name = 'kept_unmet';

-- A rollback gives it back.
begin;
select pgflow.run_flow('kept_unmet', '{"go": true}') as run \gset
select * from t.run(:'run');
rollback;
select taken_at from pgflow.events where name = 'kept_unmet';

-- Sent in the transaction that began to wait, or that begins to wait afterwards.
begin;
select pgflow.run_flow('kept_unmet', '{"go": true}', key => 'one') as run \gset
select pgflow.send_event('kept_unmet', '1', 'one');
commit;
begin;
select pgflow.send_event('kept_unmet', '1', 'two');
select pgflow.run_flow('kept_unmet', '{"go": true}', key => 'two') as other \gset
commit;
select * from t.run(:'run');
select * from t.run(:'other');

-- Not for longer than pgflow.event_retention says. The next event that is sent deletes what is too old.
show pgflow.event_retention;
select pgflow.send_event('kept_old', '1');
update pgflow.events set sent_at = sent_at - interval '7 days' where name = 'kept_old';
call t.flow('kept_old', '[{"step_slug": "s", "executor": "external", "target": "kept_old"}]');
select pgflow.run_flow('kept_old') as run \gset
select * from t.run(:'run');
update pgflow.events set sent_at = sent_at - interval '7 days';
select count(*) as old from pgflow.events \gset
select pgflow.send_event('kept_old', '2');
select * from t.run(:'run');
select :old - count(*) as gone from pgflow.events where sent_at < now() - interval '7 days';

-- 0: none is kept, and those that wait are completed.
set pgflow.event_retention = 0;
alter system set pgflow.event_retention = 0;
select pg_reload_conf();
select pg_sleep(0.5);
select pg_sleep(0.1);
show pgflow.event_retention;
select pgflow.run_flow('kept_old', key => 'zero') as run \gset
select pgflow.send_event('kept_old', '1', 'zero'), pgflow.send_event('kept_old', '2', 'zero');
select * from t.run(:'run');
select count(*) from pgflow.events where key = 'zero';
select pgflow.run_flow('kept_old', key => 'zero') as run \gset
select * from t.run(:'run');
alter system reset pgflow.event_retention;
select pg_reload_conf();
select pg_sleep(0.5);
select pg_sleep(0.1);
show pgflow.event_retention;
select * from pgflow.check_integrity();
