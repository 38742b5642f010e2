\pset null <null>
-- A run of many tasks does not starve a run of one that comes after it.
call t.flow('turns', '[{"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('turns', (select jsonb_agg('big'::text) from generate_series(1, 5000))) as big \gset
select count(*) from t.claim('turns', 50);
select pgflow.run_flow('turns', '["small"]') as small \gset
select count(*) filter (where input ->> 'item' = 'small') as small from t.claim('turns', 10);

-- Nor is the large one starved by those that come after it: everybody gets a share of every batch.
select pgflow.run_flow('turns', (select jsonb_agg('second'::text) from generate_series(1, 5000))) as second \gset
select input ->> 'item' as run, count(*) between 30 and 70 as fair from t.claim('turns', 100) group by 1 order by 1;
select input ->> 'item' as run, count(*) between 30 and 70 as fair from t.claim('turns', 100) group by 1 order by 1;

-- A higher priority goes first all the same.
select pgflow.run_flow('turns', '["urgent"]', priority => 1) as urgent \gset
select input from t.claim('turns', 1);
select pgflow.delete_flow('turns', true);

-- Runs that start together: each has one task in every round.
call t.flow('turns_equal', '[{"step_slug": "m", "step_type": "map"}]');
select count(pgflow.run_flow('turns_equal', jsonb_build_array(run, run, run, run))) from (values ('a'), ('b'), ('c')) v (run);
select array_agg(input ->> 'item' order by input ->> 'item') from t.claim('turns_equal', 3);
select array_agg(input ->> 'item' order by input ->> 'item') from t.claim('turns_equal', 3);
select array_agg(input ->> 'item' order by input ->> 'item') from t.claim('turns_equal', 3);
select array_agg(input ->> 'item' order by input ->> 'item') from t.claim('turns_equal', 4);
select * from pgflow.check_integrity();
