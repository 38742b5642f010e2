-- A delay that ends after the last timestamp of PostgreSQL never ends; it is stored so that a dump can be read back.
call t.flow('far', '[{"step_slug": "a", "start_delay": 100000}]');
select pgflow.run_flow('far', start_at => '294276-12-31 00:00+00') as run \gset
select ready_at, ready_at::text::timestamptz = ready_at as readable from pgflow.live_tasks where run_id = :'run';
select status from pgflow.cancel_run(:'run');
