\pset null <null>
-- A task of executor flow is done by a run of its target; upkeep starts it, and its end settles the task.
call t.flow('child', '[{"step_slug": "c"}]');
call t.flow('parent', '[{"step_slug": "a"}, {"step_slug": "f", "deps_slugs": ["a"], "executor": "flow", "target": "child"}, {"step_slug": "z", "deps_slugs": ["f"]}]');
-- All children of a run, whatever depth, with a path to each.
create function t.family(run uuid)
returns table (path text, flow_slug text, status text, output jsonb, error_message text) language sql as $$
  with recursive family as (
    select r.run_id, '' collate "default" as path, r.flow_slug, r.status, r.output, r.error_message from pgflow.runs r where run_id = run
    union all
    select r.run_id, format('%s/%s[%s]', f.path, r.parent_step_slug, r.parent_task_index) collate "default", r.flow_slug, r.status, r.output,
           r.error_message
    from family f join pgflow.runs r on r.parent_run_id = f.run_id and r.parent_step_slug is not null
  )
  select path, flow_slug, status, output, t.plain(error_message) from family order by path collate "C", run_id
$$;
-- Upkeep until it has nothing to do now.
create procedure t.upkeep_until_idle() language plpgsql as $$
begin
  for i in 1..1000 loop
    exit when coalesce(pgflow.run_upkeep() > clock_timestamp(), true);
  end loop;
end $$;
create function t.child(run uuid, step text, index int default 0) returns uuid language sql as $$
  select run_id from pgflow.runs where (parent_run_id, parent_step_slug, parent_task_index) = (run, step, index)
  order by run_id desc limit 1
$$;

select pgflow.run_flow('parent', '{"n": 1}', priority => 7, key => 'k') as run \gset
select * from t.claim('parent');
select * from t.complete(:'run', 'a', '"A"');
-- Workers do not get it.
select * from t.claim('parent');
call t.upkeep_until_idle();
select t.child(:'run', 'f') as child \gset
select flow_slug, status, payload, priority, key, created_by = current_user as mine, idempotency_key,
       parent_run_id = :'run' as of_run, parent_step_slug, parent_task_index, depth from pgflow.runs where run_id = :'child';
select status, lease_expires_at from pgflow.live_tasks where run_id = :'run';
select * from t.tasks(:'run');
select * from t.claim('child');
-- The call that ends the child settles the task.
select * from t.complete(:'child', 'c', '"C"');
select * from t.steps(:'run');
select * from t.claim('parent');
select * from t.complete(:'run', 'z', '"Z"');
select * from t.family(:'run');

-- Who it is and what came of it can be seen.
select jsonb_pretty(pgflow.get_run(:'run') -> 'children' #- '{0,run_id}'), pgflow.get_run(:'run') -> 'children_count',
       (pgflow.get_run(:'run') #>> '{children,0,run_id}') = :'child' as is_child;
select pgflow.get_run(:'child') -> 'run' ->> 'parent_run_id' = :'run' as is_parent, pgflow.get_run(:'child') -> 'run' -> 'parent_step_slug',
       pgflow.get_run(:'child') -> 'run' -> 'parent_task_index', pgflow.get_run(:'child') -> 'children', pgflow.get_run(:'child') -> 'children_count';

-- A failure of the child is a failed attempt: the next one has a new child.
call t.flow('child_fails', '[{"step_slug": "c"}]', '{"max_attempts": 1}');
call t.flow('parent_retries', '[{"step_slug": "f", "executor": "flow", "target": "child_fails", "max_attempts": 2}]');
select pgflow.run_flow('parent_retries') as run \gset
call t.upkeep_until_idle();
select * from t.claim('child_fails');
select * from t.fail(t.child(:'run', 'f'), 'c', 'no luck');
select step_slug, attempt, status, t.plain(error_message) from t.tasks(:'run');
select round(t.delay(:'run', 'f') / 5) as backoffs;
call t.due(:'run');
call t.upkeep_until_idle();
select * from t.family(:'run');
select * from t.claim('child_fails');
select * from t.fail(t.child(:'run', 'f'), 'c', 'no luck either');
select * from t.family(:'run');

-- A child that is cancelled is not replaced.
call t.flow('parent_skips', '[{"step_slug": "f", "executor": "flow", "target": "child", "when_exhausted": "skip"}, {"step_slug": "z", "deps_slugs": ["f"]}]');
select pgflow.run_flow('parent_skips') as run \gset
call t.upkeep_until_idle();
select status from pgflow.cancel_run(t.child(:'run', 'f'), 'not this one');
select step_slug, status, skip_reason, t.plain(error_message) from t.steps(:'run');

-- A map has a child for each element, and the array of their outputs in order.
call t.flow('child_maps', '[{"step_slug": "c"}]', '{"output_step_slug": "c"}');
call t.flow('parent_maps', '[{"step_slug": "m", "step_type": "map", "executor": "flow", "target": "child_maps"}]');
select pgflow.run_flow('parent_maps', '["x", "y", "z"]') as run \gset
call t.upkeep_until_idle();
select * from t.claim('child_maps');
select * from t.complete(t.child(:'run', 'm', 2), 'c', '"Z"');
select * from t.complete(t.child(:'run', 'm', 0), 'c', '"X"');
select * from t.complete(t.child(:'run', 'm', 1), 'c', null);
select * from t.family(:'run');

-- One call may end them all.
select pgflow.run_flow('parent_maps', (select jsonb_agg(i) from generate_series(1, 150) i)) as run \gset
call t.upkeep_until_idle();
call t.upkeep_until_idle();
select t.work('child_maps');
select status, jsonb_array_length(output -> 'm') from t.run(:'run');
select * from pgflow.errands;

-- The output of a child may be nothing: JSON null.
call t.flow('child_nothing', '[{"step_slug": "c"}, {"step_slug": "d", "required_input_pattern": {"never": true}}]', '{"output_step_slug": "d"}');
call t.flow('parent_nothing', '[{"step_slug": "f", "executor": "flow", "target": "child_nothing"}]');
select pgflow.run_flow('parent_nothing') as run \gset
call t.upkeep_until_idle();
select t.work('child_nothing');
select * from t.family(:'run');

-- A child may be over as soon as it begins.
call t.flow('child_empty', '[]');
call t.flow('child_skips', '[{"step_slug": "d", "required_input_pattern": {"never": true}}]');
call t.flow('child_unmet', '[{"step_slug": "d", "required_input_pattern": {"never": true}, "when_unmet": "fail"}]');
call t.flow('parent_at_once', '[{"step_slug": "e", "executor": "flow", "target": "child_empty"}, {"step_slug": "s", "executor": "flow", "target": "child_skips"}, {"step_slug": "u", "executor": "flow", "target": "child_unmet", "when_exhausted": "skip", "max_attempts": 1}]');
select pgflow.run_flow('parent_at_once') as run \gset
call t.upkeep_until_idle();
select * from t.family(:'run');
select step_slug, status, output, t.plain(error_message) from t.steps(:'run');

-- What cannot be run fails the task for good, and no other task.
call t.flow('child_of_array', '[{"step_slug": "m", "step_type": "map"}]');
call t.flow('child_without_output', '[{"step_slug": "c"}]', '{"output_step_slug": "later"}');
call t.flow('parent_of_none', '[{"step_slug": "f0", "executor": "flow", "target": "child"}, {"step_slug": "f1", "executor": "flow", "target": "nowhere", "when_exhausted": "skip"}, {"step_slug": "f2", "executor": "flow", "target": "child_of_array", "when_exhausted": "skip"}, {"step_slug": "f3", "executor": "flow", "target": "child_without_output", "when_exhausted": "skip"}]');
select pgflow.run_flow('parent_of_none') as run \gset
call t.upkeep_until_idle();
select step_slug, attempt, status, error_message from t.tasks(:'run');
select * from t.family(:'run');
select flow_slug, frozen_at from pgflow.flow_versions where flow_slug in ('child_of_array', 'child_without_output');

-- The end of a parent is the end of its children, and of theirs.
call t.flow('middle', '[{"step_slug": "m", "step_type": "map", "deps_slugs": ["l"], "executor": "flow", "target": "child"}, {"step_slug": "l"}]');
call t.flow('top', '[{"step_slug": "f", "executor": "flow", "target": "middle"}, {"step_slug": "w"}]', '{"max_attempts": 1}');
create function t.three_deep() returns uuid language plpgsql as $$
declare
  run uuid := pgflow.run_flow('top');
begin
  call t.upkeep_until_idle();
  perform t.claim('middle');
  perform t.complete(t.child(run, 'f'), 'l', '[1, 2]');
  call t.upkeep_until_idle();
  perform t.claim('child');
  return run;
end $$;
select t.three_deep() as run \gset
select status from pgflow.cancel_run(:'run', 'enough');
select * from t.family(:'run');
select count(*) from pgflow.errands;
select t.three_deep() as run \gset
select * from t.claim('top');
select * from t.fail(:'run', 'w', 'broken');
select * from t.family(:'run');
-- In the middle: upwards and downwards.
select t.three_deep() as run \gset
select status from pgflow.cancel_run(t.child(:'run', 'f'));
select * from t.family(:'run');
-- A failure at the bottom goes all the way up, and ends the sister.
select t.three_deep() as run \gset
select t.child(t.child(:'run', 'f'), 'm', 1) as child \gset
select * from t.fail(:'child', 'c', 'bad', retryable => false);
select step_slug, attempt, status from t.tasks(t.child(:'run', 'f'));

-- retry_run makes new children; one that is retried by hand is on its own.
select t.child(:'run', 'f') as middle \gset
select status from pgflow.cancel_run(:'run');
select status from pgflow.retry_run(:'run');
call t.upkeep_until_idle();
select * from t.family(:'run');
select status, parent_lease is null as alone from pgflow.retry_run(:'middle');
select status from pgflow.cancel_run(:'run');
select status from pgflow.runs where run_id = :'middle';
call t.upkeep_until_idle();
select t.work('child');
select status, output from t.run(:'middle');
select status from t.run(:'run');

-- Only a timeout of its own ends a child.
call t.flow('parent_timeout', '[{"step_slug": "f", "executor": "flow", "target": "child", "timeout": 60, "max_attempts": 2, "base_delay": 0}]', '{"timeout": 1}');
select pgflow.run_flow('parent_timeout') as run \gset
call t.upkeep_until_idle();
select lease_expires_at between clock_timestamp() + interval '50 s' and clock_timestamp() + interval '60 s' as in_a_minute
from pgflow.live_tasks where run_id = :'run';
call t.expire(:'run');
-- Whoever claims in the queue finds it.
select * from t.claim('parent_timeout');
select * from t.family(:'run');
call t.upkeep_until_idle();
call t.expire(:'run');
select * from t.claim('parent_timeout');
select * from t.family(:'run');
select step_slug, attempt, status, error_message from t.tasks(:'run');

-- The other ways in which a task ends or goes on without its child.
select pgflow.run_flow('parent') as run \gset
select t.work('parent');
call t.upkeep_until_idle();
select accepted, task_status, step_status from pgflow.release_step_task(:'run', 'f');
call t.upkeep_until_idle();
select * from t.family(:'run');
select accepted, task_status, step_status from pgflow.complete_step(:'run', 'f', '"by hand"');
select * from t.family(:'run');
select status from pgflow.cancel_run(:'run');
-- A map whose step is skipped takes its other children with it.
call t.flow('parent_map_skips', '[{"step_slug": "m", "step_type": "map", "executor": "flow", "target": "child", "when_exhausted": "skip"}]', '{"max_attempts": 1}');
select pgflow.run_flow('parent_map_skips', '[1, 2, 3]') as run \gset
call t.upkeep_until_idle();
select status from pgflow.cancel_run(t.child(:'run', 'm', 1));
select * from t.family(:'run');

-- A flow may contain itself; the depth is limited.
call t.flow('recursion', '[{"step_slug": "f", "executor": "flow", "target": "recursion"}]', '{"max_attempts": 1}');
set pgflow.max_flow_depth = 3;
select pgflow.run_flow('recursion') as run \gset
call t.upkeep_until_idle();
select path, status, error_message from t.family(:'run');
reset pgflow.max_flow_depth;
-- With a condition it ends by itself.
call t.flow('countdown', '[{"step_slug": "f", "executor": "flow", "target": "countdown", "forbidden_input_pattern": {"run": {"run": {"run": {}}}}}]');
select pgflow.run_flow('countdown') as run \gset
call t.upkeep_until_idle();
select path, status, output from t.family(:'run');

-- Deleting the flow of a child fails the task; deleting that of a parent ends the child.
call t.flow('doomed_child', '[{"step_slug": "c"}]');
call t.flow('parent_of_doomed', '[{"step_slug": "f", "executor": "flow", "target": "doomed_child"}]');
select pgflow.run_flow('parent_of_doomed') as run \gset
call t.upkeep_until_idle();
select pgflow.delete_flow('doomed_child', true);
select kind from pgflow.errands;
call t.upkeep_until_idle();
select * from t.family(:'run');
call t.flow('doomed_parent', '[{"step_slug": "f", "executor": "flow", "target": "child"}]');
select pgflow.run_flow('doomed_parent') as run \gset
call t.upkeep_until_idle();
select t.child(:'run', 'f') as child \gset
select pgflow.delete_flow('doomed_parent', true);
call t.upkeep_until_idle();
select * from t.run(:'child');

-- A run is not pruned before its end has reached its parent.
insert into pgflow.errands values (:'child', 1, 'tell_parent', 'infinity');
select pgflow.prune_runs('0') > 0 as pruned;
select status from t.run(:'child');
delete from pgflow.errands where run_id = :'child';
select pgflow.prune_runs('0');
select status from t.run(:'child');

select count(*) from pgflow.errands;
select * from pgflow.check_integrity();

-- Too deep a nesting is no reason to try again: otherwise each of these runs would start three.
call t.flow('recursion_retried', '[{"step_slug": "f", "executor": "flow", "target": "recursion_retried"}]', '{"base_delay": 0}');
set pgflow.max_flow_depth = 3;
select pgflow.run_flow('recursion_retried') as run \gset
call t.upkeep_until_idle();
select path, status, error_message from t.family(:'run');
-- Nor is a flow that does not exist, further down; a failure of any other kind is.
call t.flow('lost', '[{"step_slug": "f", "executor": "flow", "target": "nowhere"}]', '{"base_delay": 0}');
call t.flow('over_lost', '[{"step_slug": "g", "executor": "flow", "target": "lost"}]', '{"base_delay": 0}');
select pgflow.run_flow('over_lost') as run \gset
call t.upkeep_until_idle();
select path, status, error_message from t.family(:'run');
reset pgflow.max_flow_depth;
-- A child that completes though one of its flow tasks failed for good is a child as any other: what fails then is tried again.
call t.flow('half_lost', '[{"step_slug": "w"}, {"step_slug": "bad", "executor": "flow", "target": "nowhere", "deps_slugs": ["w"], "when_exhausted": "skip"}]',
  '{"output_step_slug": "w"}');
call t.flow('over_half', '[{"step_slug": "p", "executor": "flow", "target": "half_lost"},
  {"step_slug": "q", "deps_slugs": ["p"], "required_input_pattern": {"p": "good"}, "when_unmet": "fail"}]');
call t.flow('over_both', '[{"step_slug": "g", "executor": "flow", "target": "over_half", "base_delay": 0}]');
select pgflow.run_flow('over_both') as run \gset
call t.upkeep_until_idle();
select accepted from pgflow.claim_step_tasks('half_lost') c, pgflow.complete_step_task(c.run_id, c.step_slug, '"bad"', lease => c.lease);
call t.upkeep_until_idle();
select attempt, status from pgflow.step_tasks where run_id = :'run' order by attempt;
