\pset null <null>
-- Views for who watches, each row what it says.
create function t.q(input jsonb) returns jsonb language sql as 'select input';
call t.flow('watched', '[{"step_slug": "w"}, {"step_slug": "later", "start_delay": 100}, {"step_slug": "e", "executor": "external"},
                         {"step_slug": "z", "executor": "timer", "start_delay": 50}, {"step_slug": "q", "executor": "sql", "target": "t.q"}]');
select pgflow.run_flow('watched') as run, pgflow.run_flow('watched') as run2 \gset
select count(*) from t.claim('watched', 1, null, 'me');
select queue, is_paused from pgflow.limit_queue('watched', max_running => 7, max_started => 9, period => '3 seconds');
select pgflow.pause_queue('empty');
update pgflow.live_tasks set lease_expires_at = clock_timestamp() - interval '1 second' where queue = 'watched' and lease is not null;
select queue, executor, ready, delayed, started, expired_leases as expired, oldest_ready_at is not null as oldest,
       round(extract(epoch from next_due_at - clock_timestamp()), -1) as due, is_paused as paused, max_running, max_started, max_running_per_key as mrk, period
from pgflow.queue_stats where queue in ('watched', 'empty') order by queue, executor collate "C";
select queue from pgflow.limit_queue('watched');
select pgflow.resume_queue('empty');
select count(pgflow.cancel_run(run_id)) from pgflow.runs where flow_slug = 'watched';
select count(*) from pgflow.queue_stats where queue = 'watched';

-- How the runs of a flow go.
call t.flow('rated', '[{"step_slug": "s", "max_attempts": 2, "base_delay": 0}]');
select pgflow.run_flow('rated') as done, pgflow.run_flow('rated') as failed, pgflow.run_flow('rated') as open,
       pgflow.run_flow('rated', start_at => clock_timestamp() + interval '1 hour') as pending, pgflow.run_flow('rated') as cancelled,
       pgflow.run_flow('rated') as old \gset
select (pgflow.cancel_run(:'cancelled')).status;
select count(*) from t.claim('rated');
select * from t.complete(:'done', 's');
select * from t.complete(:'old', 's');
select * from t.fail(:'failed', 's', 'no', retry_after => 0);
select count(*) from t.claim('rated');
select * from t.fail(:'failed', 's', 'never');
update pgflow.runs set started_at = finished_at - interval '90 seconds' where run_id = :'done';
select t.age(:'old') as old \gset
select pgflow.pause_flow('rated');
select flow_slug, version, paused_at is not null as paused, pending, started, completed, failed, cancelled, completed_lately as completed_24h, failed_lately as failed_24h,
       average_duration, p95_duration, attempts_lately as attempts, attempts_failed_lately as unlucky, attempts_retried_lately as retried
from pgflow.flow_stats where flow_slug = 'rated';
select pgflow.resume_flow('rated');
select count(*) = (select count(*) from pgflow.flows) as all_flows from pgflow.flow_stats;

-- Each attempt of a run.
update pgflow.step_tasks set queued_at = '2020-01-01 00:00', started_at = '2020-01-01 00:00:05', finished_at = '2020-01-01 00:01' where run_id = :'failed' and attempt = 1;
select flow_slug, step_slug, task_index, attempt, status, worker_id, waited, took, error_message from pgflow.run_timeline where run_id = :'failed' and attempt = 1;
select attempt, status, waited > '0' as waited, took > '0' as took from pgflow.run_timeline where run_id in (:'failed', :'pending') order by run_id, attempt;
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where flow_slug = 'rated' and status in ('pending', 'started');

-- Runs that nobody moves, with the reason.
call t.flow('stuck', '[{"step_slug": "s", "queue": "stuck"}]');
call t.flow('stuck_more', '[{"step_slug": "s", "queue": "stuck"}, {"step_slug": "e", "executor": "external"}]');
call t.flow('stuck_hand', '[{"step_slug": "m", "start_mode": "manual"}, {"step_slug": "n", "deps_slugs": ["m"]}]');
call t.flow('stuck_sql', '[{"step_slug": "s", "executor": "sql", "target": "t.q"}]');
call t.flow('stuck_timer', '[{"step_slug": "s", "executor": "timer", "start_delay": 1000}]');
create function t.stuck() returns table (flow_slug text, status text, key text, step_slug text, queue text, old boolean, reason text) language sql as $$
  select flow_slug, status, key, step_slug, queue, since < clock_timestamp(), reason from pgflow.stuck_runs where flow_slug like 'stuck%' order by flow_slug collate "C"
$$;
create procedure t.wait(what interval) language sql as $$
  update pgflow.live_tasks set ready_at = ready_at - what, lease_expires_at = lease_expires_at - what where flow_slug like 'stuck%'
$$;
select * from t.stuck();
select pgflow.run_flow('stuck', key => 'k') as s, pgflow.run_flow('stuck_more') as more, pgflow.run_flow('stuck_hand') as hand, pgflow.run_flow('stuck_sql') as sql,
       pgflow.run_flow('stuck_timer') as timer, pgflow.run_flow('stuck', start_at => clock_timestamp() + interval '1 hour') as later \gset
-- All is fresh: only what waits for somebody outside is stuck. A run with a task that moves is not.
select * from t.stuck();
-- Nobody has come for five minutes.
call t.wait('6 minutes');
select * from t.stuck();
select count(*) from t.claim('stuck', 1, null, 'me');
select * from t.stuck();
-- Somebody comes, but not to this task.
update pgflow.live_tasks set lease_expires_at = clock_timestamp() - interval '2 minutes' where run_id = :'s';
select * from t.stuck();
select max_running from pgflow.limit_queue('stuck', max_running => 1);
select * from t.stuck() where queue = 'stuck';
select pgflow.pause_queue('stuck');
select * from t.stuck() where queue = 'stuck';
select pgflow.pause_flow('stuck_more');
select * from t.stuck() where queue = 'stuck';
call t.wait('1 hour');
select * from t.stuck() where flow_slug like 'stuck_t%';
select pgflow.resume_flow('stuck_more');
select pgflow.resume_queue('stuck');
select queue from pgflow.limit_queue('stuck');
-- What must not be.
delete from pgflow.live_tasks where run_id = :'sql';
select * from t.stuck() where flow_slug = 'stuck_sql';
delete from pgflow.runs where run_id = :'sql';
delete from pgflow.step_states where run_id = :'sql';
delete from pgflow.step_tasks where run_id = :'sql';
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where flow_slug like 'stuck%' and status in ('pending', 'started');
select * from t.stuck();
select * from pgflow.check_integrity();

-- They lend no rights: who may not read the tables sees nothing.
create role stats_stranger;
grant usage on schema pgflow to stats_stranger;
grant select on pgflow.queue_stats to stats_stranger;
set role stats_stranger;
select count(*) from pgflow.queue_stats;
reset role;
drop owned by stats_stranger;
drop role stats_stranger;
