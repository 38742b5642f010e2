\pset null <null>
call t.flow('run_flow', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "c", "deps_slugs": ["a", "b"]}]');
select pgflow.run_flow('run_flow', '{"n": 1}', key => 'tenant', priority => 3) as run \gset

-- All step states are there at once, and the tasks of the steps without deps.
select flow_slug, flow_version, status, payload, output, error_message, key, priority, idempotency_key,
       created_by = current_user as mine, created_for, parent_run_id, parent_step_slug, parent_task_index
from pgflow.runs where run_id = :'run';
select created_at <= clock_timestamp() as created, started_at >= created_at as started, finished_at, start_at > clock_timestamp() as ahead
from pgflow.runs where run_id = :'run';
select * from t.steps(:'run');
select * from t.tasks(:'run');
select step_slug, remaining_deps from t.counts(:'run');

-- Every input holds the payload and the outputs of the step's own deps.
select * from t.claim('run_flow');
select * from t.complete(:'run', 'a', '{"from": "a"}');
select * from t.claim('run_flow');
select * from t.claim('run_flow');
select * from t.complete(:'run', 'b', '[1, 2]');
select step_slug, remaining_deps from t.counts(:'run');
select * from t.claim('run_flow');
select * from t.complete(:'run', 'c', '"end"');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select finished_at >= started_at as finished from pgflow.runs where run_id = :'run';
select bool_and(finished_at >= started_at and started_at >= created_at) as finished from pgflow.step_states where run_id = :'run';
select bool_and(finished_at >= started_at and started_at >= queued_at) as finished from pgflow.step_tasks where run_id = :'run';
select count(*) from pgflow.live_tasks where run_id = :'run';

-- Run ids are UUIDs of version 7: in the order of time.
select pgflow.run_flow('run_flow') as one \gset
select pgflow.run_flow('run_flow') as two \gset
select substr(:'one', 15, 1) as version, :'one'::uuid < :'two'::uuid as ordered, payload from pgflow.runs where run_id = :'one';
select t.work('run_flow');

-- A flow without steps completes at once.
select (pgflow.create_flow('run_flow_empty')).version;
select pgflow.run_flow('run_flow_empty') as run \gset
select * from t.run(:'run');
select finished_at is not null as finished from pgflow.runs where run_id = :'run';

-- What it refuses, leaving nothing.
call t.fails($$select pgflow.run_flow(null)$$);
call t.fails($$select pgflow.run_flow('run_flow_unknown')$$);
call t.fails($$select pgflow.run_flow('not a slug')$$);
call t.flow('run_flow_map', '[{"step_slug": "m", "step_type": "map"}]');
call t.fails($$select pgflow.run_flow('run_flow_map')$$);
call t.fails($$select pgflow.run_flow('run_flow_map', '"[]"')$$);
call t.fails($$select pgflow.run_flow('run_flow_map', 'null')$$);
select count(*) from pgflow.runs where flow_slug = 'run_flow_map';
select frozen_at from pgflow.flow_versions where flow_slug = 'run_flow_map';
select * from pgflow.check_integrity();
