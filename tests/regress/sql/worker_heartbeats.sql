-- Who asks for tasks is seen.
delete from pgflow.workers;
call t.flow('beats', '[{"step_slug": "s"}]');
select count(*) from pgflow.run_flows('beats', array_fill('{}'::jsonb, array[10]));
select count(*) from t.claim('beats', 2, null, 'one');
select count(*) from t.claim('beats', 1, null, 'two');
select count(*) from t.claim('beats', 1);
select count(*) from t.claim('nothing here', 1, null, 'one');
select worker_id, queue, executor, tasks_claimed, last_seen_at = started_at as once from pgflow.workers order by 1, 2;
-- Not in each claim.
select count(*) from t.claim('beats', 1, null, 'one');
select worker_id, queue, tasks_claimed, last_seen_at = started_at as once from pgflow.workers order by 1, 2;
-- A session that has not seen the worker for a while, or never, writes.
\c -
select count(*) from t.claim('beats', 1, null, 'one');
select worker_id, queue, tasks_claimed, last_seen_at > started_at as again from pgflow.workers order by 1, 2;
-- An id that fits no index, and a transaction with a fixed snapshot, leave nothing.
select count(*) from t.claim('beats', 1, null, repeat('x', 1001));
begin isolation level repeatable read;
select count(*) from t.claim('beats', 1, null, 'fixed');
commit;
select count(*) from pgflow.workers;
select count(*) from t.claim('beats', 1, null, left(repeat(md5('y'), 100), 1000));
select length(worker_id), count(*) from pgflow.workers group by 1 order by 1;

-- Who is alive, and what they hold.
select left(worker_id, 5) as worker, is_alive, queues, tasks_claimed, tasks_held, queues_held, oldest_held_at is not null as holds,
       lease_expires_at > clock_timestamp() as leased
from pgflow.worker_stats where 'beats' = any (queues || queues_held) order by worker_id;
update pgflow.workers set last_seen_at = last_seen_at - interval '2 minutes';
select worker_id, is_alive, tasks_held from pgflow.worker_stats where worker_id in ('one', 'two') order by worker_id;
update pgflow.live_tasks set lease_expires_at = clock_timestamp() where queue = 'beats' and lease is not null;
select worker_id, is_alive, tasks_held from pgflow.worker_stats where worker_id in ('one', 'two') order by worker_id;
-- Workers that were not seen for a day are forgotten when a new one comes.
update pgflow.workers set last_seen_at = last_seen_at - interval '1 day' where worker_id = 'two';
\c -
select count(*) from t.claim('nothing here', 1, null, 'three');
select worker_id, queue from pgflow.workers where length(worker_id) < 10 order by 1, 2;
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where status = 'started' and flow_slug = 'beats';
delete from pgflow.workers;
