\pset null <null>
-- The key of a run's lock is a function of its id.
select pgflow_locks.run_key(id) = pgflow_locks.run_key(id) as same, count(distinct pgflow_locks.run_key(gen_random_uuid())) as keys
from (select gen_random_uuid() as id) one, generate_series(1, 1000) group by 1;
select pgflow_locks.queue_key('a') = pgflow_locks.queue_key('a') as same, pgflow_locks.queue_key('a') <> pgflow_locks.queue_key('A') as other;

-- Starting a run takes no run lock, settling does, and the end of the transaction gives it back.
call t.flow('locks', '[{"step_slug": "a"}, {"step_slug": "b"}]');
begin;
select pgflow.run_flow('locks') as run \gset
select count(*) from pgflow_locks.held;
select step_slug from t.claim('locks');
select * from t.complete(:'run', 'a', '1');
select count(*) from pgflow_locks.held;
commit;
select count(*) from pgflow_locks.held;

-- It can be taken by hand: a transaction-level advisory lock on that key, once is enough.
begin;
select pgflow_locks.lock_run(:'run');
select pgflow_locks.lock_run(:'run');
select count(*) from pgflow_locks.held;
select locktype, mode, granted, (classid::bigint << 32 | objid::bigint) = pgflow_locks.run_key(:'run') as key, objsubid
from pg_locks where pid = pg_backend_pid() and locktype = 'advisory';
rollback;
select count(*) from pgflow_locks.held;
select * from t.complete(:'run', 'b', '1');
select * from t.run(:'run');

-- A call holds at most 1,000 of them, also a claim that ends the runs of expired attempts; the next claim goes on.
call t.flow('locks_many', '[{"step_slug": "a", "max_attempts": 1}]');
select count(*) from pgflow.run_flows('locks_many', (select array_agg(to_jsonb(n)) from generate_series(1, 1010) n));
select count(*) from pgflow.claim_step_tasks('locks_many', 10000);
update pgflow.live_tasks set lease_expires_at = clock_timestamp() - interval '1 second' where queue = 'locks_many';
begin;
select count(*) from pgflow.claim_step_tasks('locks_many', 10000);
select count(*) <= 1000 as within from pg_locks where pid = pg_backend_pid() and locktype = 'advisory';
commit;
select count(*) from pgflow.claim_step_tasks('locks_many', 10000);
select status, count(*) from pgflow.runs where flow_slug = 'locks_many' group by 1;
-- Both halves of settle_and_claim together: 600 results leave 400 runs for the claim.
select count(*) from pgflow.run_flows('locks_many', (select array_agg(to_jsonb(n)) from generate_series(1, 1200) n));
select count(*) from pgflow.claim_step_tasks('locks_many', 10000);
update pgflow.live_tasks set lease_expires_at = case when (payload #>> '{}')::int > 600 then clock_timestamp() - interval '1 second' else lease_expires_at end
from pgflow.runs r where r.run_id = live_tasks.run_id and queue = 'locks_many';
begin;
select count(*) from pgflow.settle_and_claim((select jsonb_agg(jsonb_build_object('run_id', t.run_id, 'step_slug', 'a', 'lease', t.lease))
  from pgflow.live_tasks t where queue = 'locks_many' and lease_expires_at > clock_timestamp()), 'locks_many', 10000);
select count(*) <= 1000 as within from pg_locks where pid = pg_backend_pid() and locktype = 'advisory';
commit;
select status, count(*) from pgflow.runs where flow_slug = 'locks_many' group by 1 order by 1;
select count(*) from pgflow.claim_step_tasks('locks_many', 10000);
select status, count(*) from pgflow.runs where flow_slug = 'locks_many' group by 1 order by 1;
select pgflow.delete_flow('locks_many', true);
select * from pgflow.check_integrity();
