\pset null <null>
-- A map of a hundred tasks or more is not counted before its last tasks have been handed out.
call t.flow('large_maps', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "after", "deps_slugs": ["m"]}]');
select pgflow.run_flow('large_maps', (select jsonb_agg(n) from generate_series(0, 249) n)) as run \gset
create function pg_temp.work(tasks int) returns bigint language sql as $$
  select count(*) filter (where r.accepted)
  from pgflow.settle_step_tasks((
    select coalesce(jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index,
                                                 'lease', lease, 'output', task_index * 2)), '[]')
    from pgflow.claim_step_tasks('large_maps', tasks))) r
$$;
create view pg_temp.state as
  select status, remaining_tasks, initial_tasks, is_counted from pgflow.step_states
  where flow_slug = 'large_maps' and step_slug = 'm';
select pg_temp.work(100);
select * from pg_temp.state;
select pg_temp.work(100);
select * from pg_temp.state;
select * from pgflow.check_integrity();
-- Failed attempts, retries and what is handed back change nothing about that.
select task_index as failed, lease from pgflow.claim_step_tasks('large_maps', 1) \gset
select task_status, step_status from pgflow.fail_step_task(:'run', 'm', 'no', :failed, :lease, retry_after => 0);
select count(*) from pgflow.claim_step_tasks('large_maps', 50);
select * from pgflow.check_integrity();
select count(*) filter (where r.accepted) from pgflow.live_tasks l,
  pgflow.complete_step_task(l.run_id, l.step_slug, to_jsonb(l.task_index * 2), l.task_index) r
where l.flow_slug = 'large_maps' and l.task_index < 249;
select * from pg_temp.state;
select * from pgflow.check_integrity();
select accepted, task_status, step_status, run_status from pgflow.complete_step_task(:'run', 'm', '498', 249);
select status, remaining_tasks, is_counted, jsonb_array_length(output), output -> 249 as last
from pgflow.step_states where run_id = :'run' and step_slug = 'm';
select step_slug from t.claim('large_maps');
-- One that is cancelled half-way and tried again ends with all its outputs.
select pgflow.run_flow('large_maps', (select jsonb_agg(n) from generate_series(0, 149) n)) as again \gset
select pg_temp.work(30);
select status from pgflow.cancel_run(:'again');
select status from pgflow.retry_run(:'again');
select pg_temp.work(30), pg_temp.work(1000);
select status, remaining_tasks, jsonb_array_length(output) from pgflow.step_states where run_id = :'again' and step_slug = 'm';
select * from pgflow.check_integrity();
-- A map whose last result was lost would be seen.
begin;
select pgflow.run_flow('large_maps', (select jsonb_agg(n) from generate_series(0, 99) n)) as lost \gset
delete from pgflow.live_tasks where run_id = :'lost';
update pgflow.step_tasks set status = 'completed', output = '1', finished_at = now() where run_id = :'lost';
select problem from pgflow.check_integrity();
rollback;
drop view pg_temp.state;
