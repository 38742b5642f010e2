-- Flows that hostile calls meet, and some runs of each in every state.
select pgflow.define_flow('{"flow_slug": "fuzz_chain", "base_delay": 0, "steps": [{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "c", "deps_slugs": ["b"]}]}');
select pgflow.define_flow('{"flow_slug": "fuzz_map", "base_delay": 0, "max_attempts": 2, "steps": [{"step_slug": "m", "step_type": "map", "when_exhausted": "skip"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}, {"step_slug": "join", "deps_slugs": ["m", "n"]}]}');
select pgflow.define_flow('{"flow_slug": "fuzz_people", "steps": [{"step_slug": "ask", "executor": "external"}, {"step_slug": "press", "start_mode": "manual"}, {"step_slug": "last", "deps_slugs": ["ask", "press"], "required_input_pattern": {"ask": {"ok": true}}, "when_unmet": "skip-cascade"}, {"step_slug": "after", "deps_slugs": ["last"], "start_delay": 100}]}');
select pgflow.define_flow('{"flow_slug": "fuzz_nothing", "steps": []}');
select pgflow.define_flow('{"flow_slug": "fuzz_draft", "output_step_slug": "later", "steps": []}');
select pgflow.run_flow('fuzz_chain', '{"k": 1}', null, 3), pgflow.run_flow('fuzz_people'), pgflow.run_flow('fuzz_nothing'),
       pgflow.run_flow('fuzz_chain', start_at => now() + '1 hour') from generate_series(1, 3);
select pgflow.run_flow('fuzz_map', to_jsonb(array[1, n, 3])) from generate_series(1, 6) n;
select pgflow.cancel_run(pgflow.run_flow('fuzz_chain'), 'fuzz') from generate_series(1, 2);
select count(*) from pgflow.claim_step_tasks('fuzz_chain', 2);
select count(*) from pgflow.claim_step_tasks('fuzz_map', 9);
select pgflow.settle_step_tasks(jsonb_build_array(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'lease', lease, 'error_message', 'no', 'retryable', false)))
from pgflow.claim_step_tasks('fuzz_chain', 1);
