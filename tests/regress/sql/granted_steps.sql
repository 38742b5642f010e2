\pset null <null>
-- External steps are completed by who was granted them, by call or by event, in whatever run of the flow.
create role regress_author;
create role regress_client;
create role regress_approver;
create role regress_worker;
grant usage on schema t to regress_author, regress_client, regress_approver, regress_worker;
select pgflow.grant_access('regress_author', 'author'), pgflow.grant_access('regress_client', 'client'), pgflow.grant_access('regress_approver', 'client'), pgflow.grant_access('regress_worker', 'worker');
set role regress_author;
call t.flow('asked', '[{"step_slug": "approve", "executor": "external", "target": "approved"}, {"step_slug": "sign", "executor": "external", "target": "approved"}, {"step_slug": "work"}]');
call t.flow('asked_too', '[{"step_slug": "approve", "executor": "external", "target": "approved"}]');
select pgflow.grant_run('asked', 'regress_client'), pgflow.grant_step('asked', 'approve', 'regress_approver');
reset role; set role regress_client;
select pgflow.run_flow('asked', key => 'k') as run \gset
call t.fails($$select pgflow.complete_step($1, 'approve')$$, :'run');
call t.fails($$select pgflow.complete_step($1, 'work')$$, :'run');
select pgflow.send_event('approved', '"by the client"', 'k') as completed;
reset role; set role regress_approver;
call t.fails($$select pgflow.get_run($1)$$, :'run');
call t.fails($$select pgflow.complete_step($1, 'sign')$$, :'run');
call t.fails($$select pgflow.complete_step($1, 'work')$$, :'run');
call t.fails($$select pgflow.complete_step($1, 'approve')$$, '01900000-0000-7000-8000-000000000001');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'run', 'approve', '"by call"');
select accepted, task_status from pgflow.complete_step(:'run', 'approve', '"again"');
reset role;

-- An event completes what its sender may complete; others go on waiting, for somebody who may.
set role regress_author;
select pgflow.run_flow('asked_too', key => 'k') as other \gset
reset role; set role regress_client;
select pgflow.run_flow('asked', key => 'k') as run \gset
reset role; set role regress_approver;
select pgflow.send_event('approved', '"by event"', 'k') as completed;
reset role;
select r.flow_slug, s.step_slug, s.status, s.output from pgflow.step_states s join pgflow.runs r using (run_id)
where r.run_id in (:'run', :'other') and s.step_slug <> 'work' order by 1, 2;
set role regress_author;
select pgflow.send_event('approved', '"by the author"', 'k') as completed;
reset role;
select r.flow_slug, s.step_slug, s.status, s.output from pgflow.step_states s join pgflow.runs r using (run_id)
where r.run_id in (:'run', :'other') and s.step_slug <> 'work' order by 1, 2;

-- One that was kept is taken by whom its sender may complete, by the rights of then.
select pgflow.delete_flow('asked_too', true);
set role regress_approver;
select pgflow.send_event('approved', '"kept"', 'later') as completed;
reset role; set role regress_client;
select pgflow.send_event('approved', '"not for this"', 'later') as completed;
select pgflow.run_flow('asked', key => 'later') as run \gset
select step_slug, status, output from pgflow.step_states where run_id = :'run' and step_slug <> 'work' order by 1;
reset role;
set role regress_author;
select pgflow.revoke_step('asked', 'approve', 'regress_approver');
reset role; set role regress_client;
select pgflow.run_flow('asked', key => 'later') as run \gset
select step_slug, status, output from pgflow.step_states where run_id = :'run' and step_slug <> 'work' order by 1;
reset role; set role regress_approver;
call t.fails($$select pgflow.complete_step($1, 'approve')$$, :'run');
reset role;

-- A worker of the queue needs the grant as well: it has no lease of an external step.
select pgflow.grant_queue('asked', 'regress_worker');
set role regress_worker;
call t.fails($$select pgflow.complete_step($1, 'approve')$$, :'run');
select pgflow.send_event('approved', key => 'later') as completed;
reset role;
select pgflow.grant_step('asked', 'approve', 'regress_worker');
set role regress_worker;
select accepted, step_status from pgflow.complete_step(:'run', 'approve');
reset role;

-- A step that has become another executor's is not completed by the grant of old.
set role regress_author;
select pgflow.grant_step('asked', 'sign', 'regress_approver');
call t.flow('asked', '[{"step_slug": "sign"}]');
select pgflow.run_flow('asked') as run \gset
reset role; set role regress_approver;
call t.fails($$select pgflow.complete_step($1, 'sign')$$, :'run');
reset role;

select pgflow.delete_flow('asked', true), pgflow.revoke_queue('asked', 'regress_worker');
select pgflow.revoke_access(role_name, capability) from pgflow.access_grants;
delete from pgflow.events;
revoke usage on schema t from regress_author, regress_client, regress_approver, regress_worker;
drop role regress_author, regress_client, regress_approver, regress_worker;
