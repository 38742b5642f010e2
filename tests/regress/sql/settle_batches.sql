\pset null <null>
call t.flow('batches', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "j", "deps_slugs": ["m"]}]', '{"base_delay": 100}');
select pgflow.run_flow('batches', '[0, 1, 2, 3]') as one, pgflow.run_flow('batches', '[0]') as two \gset
select count(*) from t.claim('batches');
-- Over two runs, of every kind; receipts in input order.
select ord, run_id = :'one' as one, step_slug, task_index, accepted, task_status, step_status, run_status
from pgflow.settle_step_tasks(jsonb_build_array(
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 3, 'lease', t.lease(:'one', 'm', 3), 'output', '"three"'::jsonb),
  jsonb_build_object('run_id', :'two', 'step_slug', 'm', 'lease', t.lease(:'two', 'm')),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 1, 'lease', t.lease(:'one', 'm', 1), 'error_message', 'again'),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 0, 'lease', 1, 'output', '"not mine"'::jsonb),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 2, 'lease', t.lease(:'one', 'm', 2), 'release', true),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'output', 'false'::jsonb))) with ordinality
  r (run_id, step_slug, task_index, accepted, task_status, step_status, run_status, ord);
select task_index, attempt, status, output, error_message from t.tasks(:'one') order by 1, 2;
select t.delay(:'one', 'm', 1) between 90 and 110 as after_100;
select step_slug, input from t.claim('batches');

-- Refused and unknown ones do not spoil the others; of two for one task the first wins.
select task_index, accepted, task_status, step_status, run_status
from pgflow.settle_step_tasks(jsonb_build_array(
  jsonb_build_object('run_id', '00000000-0000-7000-8000-000000000000', 'step_slug', 'm', 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'nothing', 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 4, 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', -1, 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'j', 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 0, 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 1, 'output', 1),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 2, 'output', '"first"'::jsonb),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 2, 'output', '"second"'::jsonb),
  jsonb_build_object('run_id', :'one', 'step_slug', 'm', 'task_index', 2, 'error_message', 'third')));
select task_index, attempt, status, output from t.tasks(:'one') where step_slug = 'm' order by 1, 2;

-- Failing for good in a batch, with retry_after, and what follows from it in the same batch.
select accepted, task_status, step_status, run_status
from pgflow.settle_step_tasks(jsonb_build_array(jsonb_build_object('run_id', :'two', 'step_slug', 'j', 'error_message', 'wait', 'retry_after', 0)));
select step_slug, attempt from t.claim('batches');
select * from t.run(:'two');
call t.flow('batches_fail', '[{"step_slug": "m", "step_type": "map"}]', '{"max_attempts": 2}');
select pgflow.run_flow('batches_fail', '[0, 1, 2]') as run \gset
select count(*) from t.claim('batches_fail');
select task_index, accepted, task_status, step_status, run_status
from pgflow.settle_step_tasks(jsonb_build_array(
  jsonb_build_object('run_id', :'run', 'step_slug', 'm', 'task_index', 2, 'lease', t.lease(:'run', 'm', 2), 'output', 2),
  jsonb_build_object('run_id', :'run', 'step_slug', 'm', 'task_index', 1, 'lease', t.lease(:'run', 'm', 1), 'error_message', 'no', 'retryable', false),
  jsonb_build_object('run_id', :'run', 'step_slug', 'm', 'task_index', 0, 'lease', t.lease(:'run', 'm', 0), 'output', 0)));
select * from t.run(:'run');
select step_slug, status, output, error_message from t.steps(:'run');

-- All leaves of a run, and all steps of several runs, in one call.
call t.flow('batches_leaves', '[{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "c"}]');
select pgflow.run_flow('batches_leaves') as one, pgflow.run_flow('batches_leaves') as two \gset
select accepted, task_status, step_status, run_status
from pgflow.settle_step_tasks((select jsonb_agg(to_jsonb(c) - '{flow_slug,attempt,input,lease_expires_at}'::text[] || jsonb_build_object('output', c.step_slug))
                               from pgflow.claim_step_tasks('batches_leaves') c));
select run_id = :'one' as one, status, output from pgflow.runs where flow_slug = 'batches_leaves' order by run_id;

-- Malformed: 22023 with the path, and nothing changes.
select pgflow.run_flow('batches_leaves') as run \gset
select count(*) from t.claim('batches_leaves');
select t.snapshot(:'run') as before \gset
select results, t.error(format('select pgflow.settle_step_tasks(%L)', replace(results, 'RUN', :'run'))) as error
from (values
  ('null'), ('{}'), ('1'), ('[1]'), ('[null]'), ('[[]]'), ('[{}]'),
  ('[{"run_id": "RUN"}]'),
  ('[{"run_id": 1, "step_slug": "a"}]'),
  ('[{"run_id": "no uuid", "step_slug": "a"}]'),
  ('[{"run_id": null, "step_slug": "a"}]'),
  ('[{"run_id": "RUN", "step_slug": 7}]'),
  ('[{"run_id": "RUN", "step_slug": "a"}, {"run_id": "RUN", "step_slug": "b", "task_index": "0"}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "task_index": 0.5}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "task_index": 2147483648}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "lease": "1"}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "lease": 1e40}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "colour": "red"}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "error_message": 1}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "error_message": "no", "retryable": "yes"}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "error_message": "no", "retry_after": -1}]'),
  ('[{"run_id": "RUN", "step_slug": "a", "release": "yes"}]')) v (results);
select t.snapshot(:'run') = :'before' as untouched;

-- At most 1,000, and nothing is fine.
select count(*) from pgflow.settle_step_tasks('[]');
call t.fails($$select pgflow.settle_step_tasks(null)$$);
call t.fails($$select pgflow.settle_step_tasks((select jsonb_agg('{"run_id": "00000000-0000-7000-8000-000000000000", "step_slug": "a"}'::jsonb) from generate_series(1, 1001)))$$);
select count(*), count(*) filter (where accepted) as accepted
from pgflow.settle_step_tasks((select jsonb_agg('{"run_id": "00000000-0000-7000-8000-000000000000", "step_slug": "a"}'::jsonb) from generate_series(1, 1000)));
select * from pgflow.check_integrity();
