\pset null <null>
call t.flow('leases', '[{"step_slug": "a"}]', '{"max_attempts": 2}');
-- Another lease settles nothing, mine does.
select pgflow.run_flow('leases') as run \gset
select * from t.claim('leases', worker_id => 'w1');
select * from t.refusals(:'run', 'a', 0, t.lease(:'run', 'a') - 1);
select * from t.complete(:'run', 'a', '"mine"');
select * from t.run(:'run');

-- A lease that ran out and that nobody took over: the late result counts.
select pgflow.run_flow('leases') as run \gset
select step_slug from t.claim('leases');
call t.expire(:'run');
select * from t.complete(:'run', 'a', '"late"');
select * from t.run(:'run');

-- Taken over: the old attempt is expired, a new one has the task, and only its lease counts.
select pgflow.run_flow('leases') as run \gset
select step_slug from t.claim('leases', lease_seconds => 1, worker_id => 'w1');
select t.lease(:'run', 'a') as old \gset
select step_slug from t.claim('leases');
select pg_sleep(1.1);
select step_slug, attempt from t.claim('leases', worker_id => 'w2');
select * from t.refusals(:'run', 'a', 0, :old);
select attempt, status, worker_id, finished_at is not null as finished from pgflow.step_tasks where run_id = :'run' order by 1;
select * from t.complete(:'run', 'a', '"second"');
select * from t.tasks(:'run');

-- The last attempt ran out: the claim itself applies when_exhausted, and hands out nothing for it.
select pgflow.run_flow('leases') as run \gset
select attempt from t.claim('leases');
call t.expire(:'run');
select attempt from t.claim('leases');
call t.expire(:'run');
select attempt from t.claim('leases');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select * from t.refusals(:'run', 'a', 0, t.lease(:'run', 'a'));
select count(*) from pgflow.live_tasks where run_id = :'run';

-- That is so for skips, too, and what they make ready may be handed out by the same or the next claim.
call t.flow('leases_skip', '[{"step_slug": "a", "max_attempts": 1, "when_exhausted": "skip"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('leases_skip') as run \gset
select step_slug from t.claim('leases_skip');
call t.expire(:'run');
with one as (select count(*) from t.claim('leases_skip')), two as (select count(*) from t.claim('leases_skip') where (select count from one) = 0)
select (select count from one) + (select count from two) as handed_out;
select * from t.steps(:'run');

-- Extending: from now on, by lease_seconds, else by the step's timeout.
call t.flow('leases_extend', '[{"step_slug": "a", "timeout": 100}]');
select pgflow.run_flow('leases_extend') as run \gset
select step_slug from t.claim('leases_extend', lease_seconds => 1);
select accepted, task_status, step_status, run_status
from pgflow.extend_step_task(:'run', 'a', 0, t.lease(:'run', 'a'), 500);
select lease_expires_at - clock_timestamp() between '495 s' and '500 s' as extended, lease = t.lease(:'run', 'a') as same
from pgflow.live_tasks where run_id = :'run';
select accepted from pgflow.extend_step_task(:'run', 'a');
select lease_expires_at - clock_timestamp() between '95 s' and '100 s' as extended from pgflow.live_tasks where run_id = :'run';
call t.expire(:'run');
select accepted from pgflow.extend_step_task(:'run', 'a', 0, t.lease(:'run', 'a'));
select step_slug from t.claim('leases_extend');
call t.fails($$select pgflow.extend_step_task($1, 'a', lease_seconds => -1)$$, :'run');

-- Releasing: queued again at once, the same attempt, and the old lease is void.
select accepted, task_status, step_status, run_status
from pgflow.release_step_task(:'run', 'a', 0, t.lease(:'run', 'a'));
select * from t.tasks(:'run');
select * from t.refusals(:'run', 'a', 0, t.lease(:'run', 'a'));
select step_slug, attempt from t.claim('leases_extend', worker_id => 'w2');
select attempt, status, worker_id from pgflow.step_tasks where run_id = :'run';
select * from t.complete(:'run', 'a', '1');
select * from pgflow.check_integrity();
