\pset null <null>
call t.flow('idempotency', '[{"step_slug": "a"}]');
call t.flow('idempotency_other', '[{"step_slug": "a"}]');
select pgflow.run_flow('idempotency', '1', 'order 7') as first \gset
-- The same key for the same flow returns the first run and starts nothing, whatever else is asked.
select pgflow.run_flow('idempotency', '2', 'order 7', 9, clock_timestamp() + interval '1 day', 'k') = :'first' as same;
select count(*), min(payload::text), min(priority) from pgflow.runs where flow_slug = 'idempotency';

-- Another key, no key, another flow, another creator: another run.
select pgflow.run_flow('idempotency', '3', 'order 8') <> :'first' as other;
select pgflow.run_flow('idempotency', '4') <> pgflow.run_flow('idempotency', '5') as other;
select pgflow.run_flow('idempotency_other', '6', 'order 7') <> :'first' as other;
create role regress_creator superuser;
set role regress_creator;
select pgflow.run_flow('idempotency', '7', 'order 7') <> :'first' as other;
select pgflow.run_flow('idempotency', '8', 'order 7') <> :'first' as other;
reset role;
select payload, idempotency_key, created_by = current_user as mine from pgflow.runs where flow_slug = 'idempotency' order by run_id;

-- The key is kept as long as the run: past its end, past a new version, even where the payload would be refused now.
select t.work('idempotency');
select status from pgflow.runs where run_id = :'first';
select pgflow.run_flow('idempotency', '9', 'order 7') = :'first' as same;
call t.flow('idempotency', '[{"step_slug": "a", "max_attempts": 9}]');
select pgflow.run_flow('idempotency', '10', 'order 7') = :'first' as same;
select t.age(:'first') is not null as aged;
select pgflow.prune_runs('40 years');
select pgflow.run_flow('idempotency', '11', 'order 7') as second \gset
select :'second' <> :'first' as other, flow_version, payload from pgflow.runs where run_id = :'second';

-- A key of a run that was rolled back is free.
begin;
select pgflow.run_flow('idempotency', '12', 'order 12') is not null;
rollback;
select pgflow.run_flow('idempotency', '13', 'order 12') as run \gset
select payload from pgflow.runs where run_id = :'run';

-- Deleting the flow with its runs frees all keys.
select pgflow.delete_flow('idempotency', true);
call t.flow('idempotency', '[{"step_slug": "a"}]');
select pgflow.run_flow('idempotency', '14', 'order 7') as run \gset
select payload, flow_version from pgflow.runs where run_id = :'run';
select pgflow.delete_flow('idempotency', true), pgflow.delete_flow('idempotency_other', true);
drop role regress_creator;
select * from pgflow.check_integrity();
