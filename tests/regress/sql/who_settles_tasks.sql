\pset null <null>
-- A worker settles what it has leased, in its queues; without a lease settle the owner of the flow and operators alone.
create role regress_author;
create role regress_worker;
create role regress_operator;
grant usage on schema t to regress_author, regress_worker, regress_operator;
select pgflow.grant_access('regress_author', 'author'), pgflow.grant_access('regress_worker', 'worker'), pgflow.grant_access('regress_operator', 'operator');
set role regress_author;
call t.flow('settled', '[{"step_slug": "mine", "step_type": "map", "queue": "mine"}, {"step_slug": "others", "queue": "others"}]', '{"base_delay": 0}');
call t.flow('foreign', '[{"step_slug": "others", "queue": "others"}]');
select pgflow.run_flow('settled', '[1, 2, 3, 4, 5]') as run \gset
select pgflow.run_flow('foreign') as foreign_run \gset
reset role;
select pgflow.grant_queue('mine', 'regress_worker');

set role regress_worker;
call t.fails($$select pgflow.claim_step_tasks('others')$$);
call t.fails($$select pgflow.settle_and_claim('[]', 'others')$$);
call t.fails($$select pgflow.claim_step_tasks('no such queue')$$);
select array_agg(lease order by task_index) as leases from (select task_index, lease from pgflow.claim_step_tasks('mine', 5)) c \gset
reset role;
select array_agg(lease order by task_index) as leases from pgflow.live_tasks where run_id = :'run' and step_slug = 'mine' \gset
select lease as others_lease from pgflow.claim_step_tasks('others', 1) where run_id = :'run' \gset

set role regress_worker;
select accepted, task_status from pgflow.complete_step_task(:'run', 'mine', '1', 0, (:'leases'::bigint[])[1]);
select accepted, task_status from pgflow.fail_step_task(:'run', 'mine', 'no', 1, (:'leases'::bigint[])[2]);
select accepted, task_status from pgflow.release_step_task(:'run', 'mine', 2, (:'leases'::bigint[])[3]);
select accepted, task_status from pgflow.extend_step_task(:'run', 'mine', 3, (:'leases'::bigint[])[4]);
-- What is no longer its own is refused, and not denied.
select accepted, task_status from pgflow.complete_step_task(:'run', 'mine', '1', 0, (:'leases'::bigint[])[1]);
-- Without the lease, in a queue of others even with it, and where there is nothing.
call t.fails($$select pgflow.complete_step_task($1, 'mine', '1', 3)$$, :'run');
call t.fails($$select pgflow.release_step_task($1, 'mine', 3)$$, :'run');
call t.fails($$select pgflow.extend_step_task($1, 'mine', 3)$$, :'run');
call t.fails($$select pgflow.fail_step_task($1, 'mine', 'no', 3)$$, :'run');
call t.fails(format($$select pgflow.complete_step_task($1, 'others', '1', 0, %s)$$, :others_lease), :'run');
call t.fails($$select pgflow.complete_step_task($1, 'others', '1', 0, 1)$$, :'foreign_run');
call t.fails($$select pgflow.complete_step_task($1, 'nothing', '1', 0, 1)$$, :'run');
call t.fails($$select pgflow.complete_step_task($1, 'mine', '1', 99, 1)$$, :'run');

-- In a batch: an unseen run is unknown, and a step that may not be settled denies the whole of it.
select jsonb_build_array(
  jsonb_build_object('run_id', :'foreign_run', 'step_slug', 'others', 'lease', 1),
  jsonb_build_object('run_id', :'run', 'step_slug', 'mine', 'task_index', 3, 'lease', (:'leases'::bigint[])[4], 'output', 4),
  jsonb_build_object('run_id', '01900000-0000-7000-8000-000000000001', 'step_slug', 'mine', 'lease', 1),
  jsonb_build_object('run_id', :'run', 'step_slug', 'nothing', 'lease', 1)) as batch \gset
select step_slug, task_index, accepted, task_status, step_status, run_status from pgflow.settle_step_tasks(:'batch');
select jsonb_build_array(
  jsonb_build_object('run_id', :'run', 'step_slug', 'mine', 'task_index', 4, 'lease', (:'leases'::bigint[])[5], 'output', 5),
  jsonb_build_object('run_id', :'run', 'step_slug', 'others', 'lease', :others_lease)) as batch \gset
call t.fails(format('select pgflow.settle_step_tasks(%L)', :'batch'));
call t.fails(format('select pgflow.settle_and_claim(%L, ''mine'')', :'batch'));
select jsonb_build_array(jsonb_build_object('run_id', :'run', 'step_slug', 'mine', 'task_index', 4)) as batch \gset
call t.fails(format('select pgflow.settle_step_tasks(%L)', :'batch'));
select task_index, status from pgflow.step_tasks where run_id = :'run' and step_slug = 'mine' order by task_index, attempt;
select count(*) as nothing from pgflow.settle_step_tasks('[]');
select jsonb_build_array(
  jsonb_build_object('run_id', :'foreign_run', 'step_slug', 'others', 'lease', 1),
  jsonb_build_object('run_id', :'run', 'step_slug', 'mine', 'task_index', 4, 'lease', (:'leases'::bigint[])[5], 'output', 5)) as batch \gset
select step_slug, task_index, attempt, lease from pgflow.settle_and_claim(:'batch', 'mine', 1) \gset
select :'step_slug' as step_slug, :'task_index' as task_index, :'attempt' as attempt;
reset role;

-- A queue that is taken away: what was leased before is not its own any more.
select pgflow.revoke_queue('mine', 'regress_worker');
set role regress_worker;
call t.fails(format($$select pgflow.complete_step_task($1, %L, '1', %s, %s)$$, :'step_slug', :task_index, :lease), :'run');
call t.fails($$select pgflow.claim_step_tasks('mine')$$);
reset role;

-- The owner of the flow and operators settle without one; they do not claim.
set role regress_author;
select accepted, task_status from pgflow.complete_step_task(:'run', :'step_slug', '2', :task_index);
call t.fails($$select pgflow.claim_step_tasks('mine')$$);
reset role; set role regress_operator;
select accepted, task_status, step_status from pgflow.complete_step(:'run', 'others', '"done"');
call t.fails($$select pgflow.claim_step_tasks('mine')$$);
reset role;

select pgflow.delete_flow('settled', true), pgflow.delete_flow('foreign', true);
select pgflow.revoke_access(role_name, capability) from pgflow.access_grants;
revoke usage on schema t from regress_author, regress_worker, regress_operator;
drop role regress_author, regress_worker, regress_operator;
