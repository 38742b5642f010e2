-- How much of a queue may be under way at once, and how much be started within a period; of all of it and of the runs of
-- one key.
call t.flow('limited', '[{"step_slug": "s", "max_attempts": 2}]');
select count(*) from pgflow.run_flows('limited', array_fill('{}'::jsonb, array[30]));
select queue, is_paused, max_running, max_running_per_key, max_started, max_started_per_key, period from pgflow.limit_queue('limited', max_running => 3);
create function t.settle(how text, most int) returns bigint language sql as $$
  select count(*) filter (where case how
    when 'complete' then (pgflow.complete_step_task(run_id, step_slug, lease => lease)).accepted
    when 'fail' then (pgflow.fail_step_task(run_id, step_slug, 'no', lease => lease, retry_after => 0)).accepted
    when 'release' then (pgflow.release_step_task(run_id, step_slug, lease => lease)).accepted
    when 'cancel' then (pgflow.cancel_run(run_id)).status = 'cancelled' end)
  from (select * from pgflow.live_tasks where queue = 'limited' and lease is not null order by run_id limit most) l
$$;

-- Whatever ends a task makes room for as many.
select count(*) from t.claim('limited', 2);
select count(*) from t.claim('limited', 10);
select count(*) from t.claim('limited', 10);
select t.settle('complete', 1), (select count(*) from t.claim('limited', 10)) as claimed;
select t.settle('fail', 2), (select count(*) from t.claim('limited', 10)) as claimed;
select t.settle('release', 3), (select count(*) from t.claim('limited', 10)) as claimed;
select t.settle('cancel', 1), (select count(*) from t.claim('limited', 10)) as claimed;
update pgflow.live_tasks set lease_expires_at = clock_timestamp() - interval '1 second' where queue = 'limited' and lease is not null;
select count(*) from t.claim('limited', 10);
select count(*) from pgflow.live_tasks where queue = 'limited' and lease is not null;
-- Other queues know nothing of it; a batch is settled and claimed within it; more is let through when the limit rises.
call t.flow('unlimited', '[{"step_slug": "s"}]');
select count(*) from pgflow.run_flows('unlimited', array_fill('{}'::jsonb, array[5]));
select count(*) from t.claim('unlimited');
select count(*) from pgflow.settle_and_claim((select jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'lease', lease, 'output', 1))
                                              from (select * from pgflow.live_tasks where queue = 'limited' and lease is not null limit 2) l), 'limited');
select max_running from pgflow.limit_queue('limited', max_running => 5);
select count(*) from t.claim('limited', 10);
select max_running from pgflow.limit_queue('limited', max_running => 4);
select t.settle('complete', 1), (select count(*) from t.claim('limited', 10)) as claimed;
select t.settle('complete', 1), (select count(*) from t.claim('limited', 10)) as claimed;
select max_running from pgflow.limit_queue('limited', max_running => 0);
select t.settle('complete', 10), (select count(*) from t.claim('limited', 10)) as claimed;
-- No limit: no row.
select max_running from pgflow.limit_queue('limited');
select count(*) from pgflow.queues;
select count(*) from t.claim('limited', 10);
select t.settle('cancel', 100) > 0 as ended;
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where flow_slug = 'limited' and status = 'started';

-- Starts within a period. What was released or ran out and is started again counts again.
select max_started, period from pgflow.limit_queue('limited', max_started => 4, period => '1 hour');
select count(*) from pgflow.run_flows('limited', array_fill('{}'::jsonb, array[30]));
select count(*) from t.claim('limited', 3);
select t.settle('release', 1), (select count(*) from t.claim('limited', 10)) as claimed;
select t.settle('complete', 10), (select count(*) from t.claim('limited', 10)) as claimed;
select key, tasks from pgflow.queue_starts order by started_at;
-- The window slides: what was started an hour ago makes room, and is forgotten by the next claim.
update pgflow.queue_starts set started_at = started_at - interval '1 hour' where tasks = 3;
select count(*) from t.claim('limited', 10);
select key, tasks from pgflow.queue_starts order by started_at;
-- The clock went back by ten hours: what was started then is too far away for any window of now.
update pgflow.queue_starts set started_at = started_at + interval '10 hours';
select count(*) from t.claim('limited', 10);
update pgflow.queue_starts set started_at = clock_timestamp() + interval '59 minutes';
select count(*) from t.claim('limited', 10);
-- A shorter period, and both limits at once: the narrower one holds.
select max_started, period from pgflow.limit_queue('limited', max_started => 100, period => '1 second', max_running => 2);
update pgflow.queue_starts set started_at = started_at - interval '2 hours';
select t.settle('complete', 100) > 0 as ended, (select count(*) from t.claim('limited', 10)) as claimed;
select max_running from pgflow.limit_queue('limited', max_running => 2);
select count(*) from pgflow.queue_starts;
select queue from pgflow.limit_queue('limited');
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where flow_slug = 'limited' and status = 'started';

-- Keys: the tasks of runs with the same one. Runs without a key are not limited by it.
call t.flow('keyed', '[{"step_slug": "m", "step_type": "map"}]');
create function t.claimed(most int) returns text language sql as $$
  select string_agg(format('%s: %s', coalesce(key, 'none'), tasks), ', ' order by key)
  from (select r.key, count(*) as tasks from pgflow.claim_step_tasks('keyed', most) c join pgflow.runs r using (run_id) group by r.key) c
$$;
select max_running_per_key from pgflow.limit_queue('keyed', max_running_per_key => 2);
select pgflow.run_flow('keyed', '[1, 2, 3, 4, 5]', key => 'a') as a1, pgflow.run_flow('keyed', '[1, 2, 3]', key => 'a') as a2,
       pgflow.run_flow('keyed', '[1, 2, 3]', key => 'b') as b, pgflow.run_flow('keyed', '[1, 2, 3]') as none \gset
select t.claimed(3);
select t.claimed(100);
select t.claimed(100);
select accepted from pgflow.live_tasks t, pgflow.complete_step_task(t.run_id, t.step_slug, '1', t.task_index)
where t.queue = 'keyed' and lease is not null and t.run_id in (:'a1', :'a2') limit 1;
select t.claimed(100);
-- With a limit of the whole queue; order is kept among what has room, and inputs are what they are.
select count(*) from pgflow.live_tasks t, pgflow.complete_step_task(t.run_id, t.step_slug, '1', t.task_index) where t.queue = 'keyed' and lease is not null;
select max_running, max_running_per_key from pgflow.limit_queue('keyed', max_running => 3, max_running_per_key => 2);
select pgflow.run_flow('keyed', '[1, 2, 3]', key => 'c', priority => 1) as c \gset
select step_slug, task_index, attempt, input, lease > 0 as leased, lease_expires_at > clock_timestamp() as holds from pgflow.claim_step_tasks('keyed', 100, null, 'w');
select r.key, task_index, h.status, h.worker_id, h.started_at is not null as started
from pgflow.live_tasks l join pgflow.runs r using (run_id) join pgflow.step_tasks h using (run_id, step_slug, task_index, attempt)
where l.queue = 'keyed' and l.status = 'started' order by 1, 2;
select t.claimed(100);
-- Starts by key.
select count(*) from pgflow.live_tasks t, pgflow.complete_step_task(t.run_id, t.step_slug, '1', t.task_index) where t.queue = 'keyed' and lease is not null;
select max_started_per_key from pgflow.limit_queue('keyed', max_started => 5, max_started_per_key => 2, period => '1 hour');
select count(pgflow.run_flow('keyed', '[1, 2, 3]', key => k)) from unnest('{d,e}'::text[]) k;
select t.claimed(2);
select t.claimed(100);
select t.claimed(100);
select key, sum(tasks) from pgflow.queue_starts where queue = 'keyed' group by key order by key;
update pgflow.queue_starts set started_at = started_at - interval '1 hour' where key = 'c' or key = '';
select t.claimed(100);
select * from pgflow.check_integrity();
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where status = 'started' and flow_slug in ('keyed', 'unlimited');

-- External and timer tasks count never.
call t.flow('waits', '[{"step_slug": "e", "executor": "external", "queue": "keyed"}, {"step_slug": "w", "queue": "keyed"}]');
select max_running from pgflow.limit_queue('keyed', max_running => 1);
select pgflow.run_flow('waits') as run \gset
select step_slug from t.claim('keyed');
select (pgflow.cancel_run(:'run')).status;

call t.fails($$select pgflow.limit_queue(null)$$);
call t.fails($$select pgflow.limit_queue('')$$);
call t.fails($$select pgflow.limit_queue(repeat('q', 129))$$);
call t.fails($$select pgflow.limit_queue('q', max_running => -1)$$);
call t.fails($$select pgflow.limit_queue('q', max_started_per_key => -1)$$);
call t.fails($$select pgflow.limit_queue('q', max_started => 1, period => null)$$);
call t.fails($$select pgflow.limit_queue('q', max_started => 1, period => '0')$$);
call t.fails($$select pgflow.limit_queue('q', max_started => 1, period => '-1 day')$$);
call t.fails($$select pgflow.limit_queue('q', max_started => 1, period => '2 years')$$);
select queue from pgflow.limit_queue('keyed');
select count(*) from pgflow.queues;
