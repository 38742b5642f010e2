\pset null <null>
call t.flow('errors', '[{"step_slug": "a"}]');
select pgflow.run_flow('errors') as run \gset
-- 22004: a required argument is null.
select call, t.error('select pgflow.' || call, :'run') as error
from (values
  ('create_flow(null)'), ('add_step(null, ''a'')'), ('add_step(''errors'', null)'), ('define_flow(null)'), ('delete_flow(null)'),
  ('flow_graph(null)'), ('run_flow(null)'), ('run_flows(null, ''{1}'')'), ('run_flows(''errors'', null)'), ('start_step(null, ''a'')'), ('start_step($1, null)'),
  ('claim_step_tasks(null)'), ('complete_step_task(null, ''a'')'), ('complete_step_task($1, null)'), ('fail_step_task(null, ''a'', ''no'')'),
  ('fail_step_task($1, null, ''no'')'), ('fail_step_task($1, ''a'', null)'), ('extend_step_task(null, ''a'')'), ('extend_step_task($1, null)'),
  ('release_step_task(null, ''a'')'), ('release_step_task($1, null)'), ('settle_step_tasks(null)'), ('settle_and_claim(null, ''errors'')'),
  ('settle_and_claim(''[]'', null)'), ('complete_step(null, ''a'')'), ('complete_step($1, null)'), ('cancel_run(null)'), ('retry_run(null)'),
  ('fork_run(null, ''{a}'')'), ('fork_run($1, null)'), ('get_run(null)'), ('prune_runs(null)')) v (call);

-- 22023: a value is out of its domain; the message quotes it.
select call, t.error('select pgflow.' || call, :'run') as error
from (values
  ('create_flow(''1a'')'), ('create_flow(''item'')'), ('create_flow(''errors_new'', max_attempts => 0)'), ('create_flow(''errors_new'', base_delay => -7)'),
  ('add_step(''errors'', ''b c'')'), ('add_step(''errors'', ''b'', step_type => ''list'')'), ('add_step(''errors'', ''b'', max_attempts => -7)'),
  ('add_step(''errors'', ''b'', when_exhausted => ''explode'')'), ('add_step(''errors'', ''b'', required_input_pattern => ''[7]'')'),
  ('claim_step_tasks(''errors'', -7)'), ('claim_step_tasks(''errors'', 10001)'), ('claim_step_tasks(''errors'', 1, -7)'),
  ('fail_step_task($1, ''a'', ''no'', retry_after => -7)'), ('extend_step_task($1, ''a'', lease_seconds => -7)'),
  ('settle_step_tasks(''{}'')'), ('prune_runs(''1 day'', -7)')) v (call);

-- PT404 and PT409: a constant message, the values in the DETAIL.
select call, t.error('select pgflow.' || replace(call, 'NONE', '''00000000-0000-7000-8000-000000000000'''), :'run') as error
from (values
  ('add_step(''errors_unknown'', ''a'')'), ('add_step(''errors'', ''b'', ''{nothing}'')'), ('delete_flow(''errors_unknown'')'),
  ('flow_graph(''errors_unknown'')'), ('flow_graph(''errors'', 7)'), ('run_flow(''errors_unknown'')'), ('run_flows(''errors_unknown'', ''{1}'')'),
  ('start_step(NONE, ''a'')'), ('start_step($1, ''nothing'')'), ('complete_step_task(NONE, ''a'')'), ('complete_step_task($1, ''nothing'')'),
  ('complete_step_task($1, ''a'', null, 7)'), ('fail_step_task(NONE, ''a'', ''no'')'), ('extend_step_task(NONE, ''a'')'), ('release_step_task(NONE, ''a'')'),
  ('complete_step(NONE, ''a'')'), ('complete_step($1, ''nothing'')'), ('cancel_run(NONE)'), ('retry_run(NONE)'), ('fork_run(NONE, ''{a}'')'), ('get_run(NONE)'),
  ('delete_flow(''errors'')'), ('retry_run($1)'), ('fork_run($1, ''{a}'')')) v (call);
-- The same message for whatever value.
select count(distinct split_part(t.error('select pgflow.run_flow(''errors_unknown_' || n || ''')'), E'\n', 1)) from generate_series(1, 3) n;

-- None of them changed anything.
select flow_slug, version from pgflow.flows where flow_slug like 'errors%';
select * from t.steps(:'run');
select * from t.tasks(:'run');
select * from pgflow.check_integrity();
