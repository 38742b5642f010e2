\pset null <null>
-- Settles, then claims what that made ready, in one call.
call t.flow('settle_claim', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('settle_claim') as run \gset
select step_slug, attempt, input, lease > 0 as leased from pgflow.settle_and_claim('[]', 'settle_claim');
select step_slug, attempt, input, lease > 0 as leased
from pgflow.settle_and_claim(jsonb_build_array(jsonb_build_object('run_id', :'run', 'step_slug', 'a', 'output', '"A"'::jsonb)),
                             'settle_claim', 10, 30, 'w2');
select step_slug, status, worker_id from pgflow.step_tasks where run_id = :'run' order by 1;

-- Settles only, where nothing is asked for; a retry without delay comes back at once.
select step_slug, attempt
from pgflow.settle_and_claim(jsonb_build_array(jsonb_build_object('run_id', :'run', 'step_slug', 'b', 'error_message', 'again', 'retry_after', 0)),
                             'settle_claim');
select count(*)
from pgflow.settle_and_claim(jsonb_build_array(jsonb_build_object('run_id', :'run', 'step_slug', 'b', 'output', '"B"'::jsonb)),
                             'settle_claim', 0);
select * from t.run(:'run');
select * from t.tasks(:'run');

-- A fault in either half: nothing changes.
select pgflow.run_flow('settle_claim') as run \gset
select step_slug from t.claim('settle_claim');
select t.snapshot(:'run') as before \gset
call t.fails($$select pgflow.settle_and_claim(null, 'settle_claim')$$);
call t.fails($$select pgflow.settle_and_claim('[]', null)$$);
call t.fails($$select pgflow.settle_and_claim('[{}]', 'settle_claim')$$);
call t.fails($$select pgflow.settle_and_claim(jsonb_build_array(jsonb_build_object('run_id', $1, 'step_slug', 'a')), 'settle_claim', -1)$$, :'run');
call t.fails($$select pgflow.settle_and_claim(jsonb_build_array(jsonb_build_object('run_id', $1, 'step_slug', 'a')), 'settle_claim', 10001)$$, :'run');
select t.snapshot(:'run') = :'before' as untouched;
-- What is refused there does not hinder the claim.
select pgflow.run_flow('settle_claim') as next \gset
select run_id = :'next' as next, step_slug
from pgflow.settle_and_claim(jsonb_build_array(jsonb_build_object('run_id', :'run', 'step_slug', 'a', 'lease', 1)), 'settle_claim');
select * from pgflow.check_integrity();
