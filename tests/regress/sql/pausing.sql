-- A paused queue and a paused flow hand out nothing; what is under way goes on.
call t.flow('resting', '[{"step_slug": "a", "max_attempts": 2}, {"step_slug": "b", "deps_slugs": ["a"], "queue": "shared"}]');
call t.flow('busy', '[{"step_slug": "a", "queue": "shared"}]');
select pgflow.run_flow('resting') as one, pgflow.run_flow('resting') as two \gset
select count(*) from t.claim('resting', 1);
select pgflow.pause_queue('resting');
select pgflow.pause_queue('resting');
select queue, is_paused, max_running from pgflow.queues;
select count(*) from t.claim('resting');
select * from t.complete(:'one', 'a');
select count(*) from pgflow.settle_and_claim('[]', 'resting');
select step_slug from t.claim('shared');
-- Leases run out all the same.
select pgflow.resume_queue('resting');
select count(*) from pgflow.queues;
select count(*) from t.claim('resting');
select pgflow.pause_queue('resting');
call t.expire(:'two');
select count(*) from t.claim('resting');
select * from t.tasks(:'two');
select pgflow.resume_queue('resting');
select pgflow.resume_queue('resting');
select step_slug, attempt from t.claim('resting');
-- A paused queue with limits keeps them, and a limited one its pause.
select is_paused, max_running from pgflow.limit_queue('resting', max_running => 1);
select pgflow.pause_queue('resting');
select is_paused, max_running from pgflow.limit_queue('resting', max_running => 2);
select pgflow.resume_queue('resting');
select is_paused, max_running from pgflow.queues;
select pgflow.pause_queue('resting');
select is_paused, max_running from pgflow.limit_queue('resting');
select is_paused, max_running from pgflow.queues;
select pgflow.resume_queue('resting');
select count(*) from pgflow.queues;

-- A paused flow: new runs wait, others in its queues go on.
select pgflow.pause_flow('resting');
select pgflow.pause_flow('resting');
select flow_slug, paused_by = current_user as by_me from pgflow.paused_flows;
select pgflow.run_flow('resting') as three, pgflow.run_flow('busy') as other, pgflow.run_flow('busy') as another \gset
select count(*) from t.claim('resting');
select * from t.complete(:'two', 'a');
select c.flow_slug, c.step_slug, c.input, c.lease is not null as leased from pgflow.claim_step_tasks('shared', 1, null, 'w') c;
select count(*) from t.claim('shared');
select count(*) from t.claim('shared');
select status, worker_id from pgflow.step_tasks where run_id = :'other';
select pgflow.resume_flow('resting');
select pgflow.resume_flow('resting');
select count(*) from pgflow.paused_flows;
select step_slug from t.claim('shared');
select step_slug from t.claim('resting');
-- In a limited queue, too.
select max_running from pgflow.limit_queue('shared', max_running => 100);
select pgflow.run_flow('busy') as third \gset
select pgflow.pause_flow('busy');
select count(*) from t.claim('shared');
select pgflow.resume_flow('busy');
select count(*) from t.claim('shared');
-- A pause does not outlive its flow.
select pgflow.pause_flow('busy');
select pgflow.delete_flow('busy', true);
select count(*) from pgflow.paused_flows;
call t.flow('busy', '[{"step_slug": "a", "queue": "shared"}]');
select pgflow.run_flow('busy') as again \gset
select count(*) from t.claim('shared');

select queue from pgflow.limit_queue('shared');

-- Only the owner pauses a flow.
create role pausing_stranger;
select pgflow.grant_access('pausing_stranger', 'author');
set role pausing_stranger;
\set VERBOSITY verbose
select pgflow.pause_flow('resting');
select pgflow.resume_flow('resting');
\set VERBOSITY default
reset role;
select pgflow.revoke_access('pausing_stranger', 'author');
drop role pausing_stranger;
call t.fails($$select pgflow.pause_flow('nope')$$);
call t.fails($$select pgflow.resume_flow('nope')$$);
call t.fails($$select pgflow.pause_flow(null)$$);
call t.fails($$select pgflow.resume_flow(null)$$);
call t.fails($$select pgflow.pause_queue(null)$$);
call t.fails($$select pgflow.resume_queue(null)$$);
call t.fails($$select pgflow.pause_queue('')$$);
select pgflow.resume_queue('nobody has heard of it');
select * from pgflow.check_integrity();
select count(pgflow.cancel_run(run_id)) > 0 as ended from pgflow.runs where status = 'started' and flow_slug in ('resting', 'busy');
