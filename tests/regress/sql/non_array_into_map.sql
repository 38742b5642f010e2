\pset null <null>
-- A single step that feeds a map must return an array: else it is failed, whatever its when_exhausted and attempts, and so is the run.
call t.flow('non_array', '[{"step_slug": "a", "when_exhausted": "skip"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}, {"step_slug": "b"}]', '{"max_attempts": 5}');
select output, pgflow.run_flow('non_array') as run
into temp cases from (values ('{"x": 1}'::jsonb), ('"[]"'), ('null'), (null), ('0'), ('[]')) v (output);
select count(*) from t.claim('non_array', 20);
select output, receipt.* from cases, t.complete(run, 'a', output) receipt;
select cases.output, status, error_message from cases, t.run(run);
select cases.output, step_slug, status, s.output as kept, skip_reason, s.error_message from cases, t.steps(run) s where cases.output = '0' or cases.output = '[]';
select attempt, status, t.output from cases, t.tasks(run) t where cases.output = '0' and step_slug = 'a';

-- In a batch, by complete_step, with a manual map, and only along the dep that the map is over.
call t.flow('non_array_others', '[{"step_slug": "list"}, {"step_slug": "also"}, {"step_slug": "ext", "executor": "external"},
  {"step_slug": "m", "step_type": "map", "deps_slugs": ["list", "also"], "map_over": "list"},
  {"step_slug": "n", "step_type": "map", "deps_slugs": ["ext"], "start_mode": "manual"}]');
select pgflow.run_flow('non_array_others') as one, pgflow.run_flow('non_array_others') as two \gset
select count(*) from t.claim('non_array_others');
select step_slug, accepted, task_status, step_status, run_status
from pgflow.settle_step_tasks(jsonb_build_array(
  jsonb_build_object('run_id', :'one', 'step_slug', 'also', 'lease', t.lease(:'one', 'also'), 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'list', 'lease', t.lease(:'one', 'list'), 'output', 1),
  jsonb_build_object('run_id', :'two', 'step_slug', 'also', 'lease', t.lease(:'two', 'also'), 'output', 1)));
select * from t.run(:'one');
select accepted, task_status, step_status, run_status from pgflow.complete_step(:'two', 'ext', '{}');
select * from t.run(:'two');
select step_slug, status from t.steps(:'two');
select * from pgflow.check_integrity();
