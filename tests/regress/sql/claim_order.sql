\pset null <null>
-- Highest priority first, negative ones last.
call t.flow('claim_order', '[{"step_slug": "a"}]');
select pgflow.run_flow('claim_order', '"low"', priority => -5) is not null, pgflow.run_flow('claim_order', '"normal"') is not null,
       pgflow.run_flow('claim_order', '"high"', priority => 7) is not null, pgflow.run_flow('claim_order', '"highest"', priority => 2147483647) is not null,
       pgflow.run_flow('claim_order', '"lowest"', priority => -2147483648) is not null;
select input from t.claim('claim_order', 1);
select input from t.claim('claim_order', 1);
select input from t.claim('claim_order', 1);
select input from t.claim('claim_order', 1);
select input from t.claim('claim_order', 1);

-- One claim hands them out in that order too.
select count(pgflow.run_flow('claim_order', to_jsonb(n), priority => n % 3)) from generate_series(1, 6) n;
select input from t.claim('claim_order', 4);
select input from t.claim('claim_order', 4);

-- Ties: by age.
select count(pgflow.run_flow('claim_order', to_jsonb(n))) from generate_series(1, 5) n;
select input from t.claim('claim_order', 3);
select input from t.claim('claim_order', 3);

-- Within a run: by step_index, then task_index.
call t.flow('claim_order_steps', '[{"step_slug": "z"}, {"step_slug": "m", "step_type": "map"}, {"step_slug": "a"}]');
select pgflow.run_flow('claim_order_steps', '[1, 2, 3]') as run \gset
select step_slug, task_index from t.claim('claim_order_steps', 2);
select step_slug, task_index from t.claim('claim_order_steps', 2);
select step_slug, task_index from t.claim('claim_order_steps', 2);

-- The priority is the run's, in all its steps.
call t.flow('claim_order_later', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('claim_order_later', '"first"') as first, pgflow.run_flow('claim_order_later', '"urgent"', priority => 1) as urgent \gset
select step_slug, input from t.claim('claim_order_later', 1);
select * from t.complete(:'urgent', 'a', '0');
select step_slug, input from t.claim('claim_order_later', 1);
select * from t.complete(:'urgent', 'b', '0');
select step_slug, input from t.claim('claim_order_later', 1);
select * from pgflow.check_integrity();
