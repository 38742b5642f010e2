\pset null <null>
call t.flow('prune', '[{"step_slug": "a"}]', '{"max_attempts": 1}');
select pgflow.run_flow('prune') as completed, pgflow.run_flow('prune') as failed, pgflow.run_flow('prune') as cancelled,
       pgflow.run_flow('prune') as live, pgflow.run_flow('prune', start_at => clock_timestamp() + interval '1 hour') as pending,
       pgflow.run_flow('prune') as young \gset
select count(*) from t.claim('prune');
select * from t.complete(:'completed', 'a', '1');
select * from t.fail(:'failed', 'a', 'no');
select pgflow.cancel_run(:'cancelled') is not null;
select * from t.complete(:'young', 'a', '1');
-- Only ended runs, by the time of their end; no more than max_runs at once.
update pgflow.runs set finished_at = finished_at - interval '50 years' where flow_slug = 'prune' and run_id <> :'young';
update pgflow.runs set created_at = created_at - interval '50 years' where flow_slug = 'prune';
select pgflow.prune_runs('49 years', 0);
select pgflow.prune_runs('51 years');
select pgflow.prune_runs('49 years', 2);
select pgflow.prune_runs('49 years', 2);
select pgflow.prune_runs('49 years');
select run_id = :'live' as live, run_id = :'pending' as pending, run_id = :'young' as young, status from pgflow.runs
where flow_slug = 'prune' order by status desc;
-- Nothing of them is left.
select (select count(*) from pgflow.step_states where flow_slug = 'prune') as states,
       (select count(*) from pgflow.step_tasks where flow_slug = 'prune') as tasks;
call t.fails($$select pgflow.complete_step_task($1, 'a')$$, :'completed');

call t.fails($$select pgflow.prune_runs(null)$$);
call t.fails($$select pgflow.prune_runs('-1 day')$$);
call t.fails($$select pgflow.prune_runs('99 years', -1)$$);
select * from pgflow.check_integrity();
