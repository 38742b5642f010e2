\pset null <null>
call t.flow('prune', '[{"step_slug": "a"}]', '{"max_attempts": 1}');
select pgflow.run_flow('prune') as completed, pgflow.run_flow('prune') as failed, pgflow.run_flow('prune') as cancelled,
       pgflow.run_flow('prune') as live, pgflow.run_flow('prune', start_at => clock_timestamp() + interval '1 hour') as pending,
       pgflow.run_flow('prune') as late, pgflow.run_flow('prune') as young \gset
select count(*) from t.claim('prune');
select * from t.complete(:'completed', 'a', '1');
select * from t.fail(:'failed', 'a', 'no');
select (pgflow.cancel_run(:'cancelled')).status;
select * from t.complete(:'late', 'a', '1');
select * from t.complete(:'young', 'a', '1');
-- Only ended runs, by the time of their end; no more than max_runs at once.
select t.age(:'completed') as completed, t.age(:'failed') as failed, t.age(:'cancelled') as cancelled, t.age(:'live') as live,
       t.age(:'pending') as pending, t.age(:'late') as late \gset
update pgflow.runs set finished_at = clock_timestamp() where run_id = :'late';
select pgflow.prune_runs('49 years', 0);
select pgflow.prune_runs('99 years');
select pgflow.prune_runs('49 years', 2);
select pgflow.prune_runs('49 years', 2);
select pgflow.prune_runs('49 years');
select case run_id when :'live' then 'live' when :'pending' then 'pending' when :'late' then 'late' when :'young' then 'young' end as run, status
from pgflow.runs where flow_slug = 'prune' order by 1;
-- Nothing of them is left.
select count(*) filter (where run_id in (:'completed', :'failed', :'cancelled')) as gone, count(*) from pgflow.step_tasks where flow_slug = 'prune';
select count(*) filter (where run_id in (:'completed', :'failed', :'cancelled')) as gone, count(*) from pgflow.step_states where flow_slug = 'prune';
call t.fails($$select pgflow.complete_step_task($1, 'a')$$, :'completed');

call t.fails($$select pgflow.prune_runs(null)$$);
call t.fails($$select pgflow.prune_runs('-1 day')$$);
call t.fails($$select pgflow.prune_runs('99 years', -1)$$);
select * from pgflow.check_integrity();
