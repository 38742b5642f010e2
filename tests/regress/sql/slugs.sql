\pset null <null>
-- 1 to 128 characters, ^[a-zA-Z_][a-zA-Z0-9_]*$; run and item are reserved. The same rule for flows and steps.
select (pgflow.create_flow('slugs')).version;
select quote_nullable(slug) as slug,
       t.sqlstate(format('select pgflow.create_flow(%L)', slug)) as flow,
       t.sqlstate(format('select pgflow.add_step(%L, %L)', 'slugs', slug)) as step
from (values ('a'), ('_'), ('A1_b'), ('Run'), ('ITEM'), ('run_'),
             ('run'), ('item'), (''), ('1a'), ('a-b'), ('a b'), (' a'), ('a.b'), ('a''b'), ('a"b'), (E'a\n'),
             ('é'), ('🚀'), ('ａ'), (null)) v (slug);
select length, t.sqlstate(format('select pgflow.create_flow(%L)', repeat('x', length))) as flow,
       t.sqlstate(format('select pgflow.add_step(%L, %L)', 'slugs', repeat('x', length))) as step
from (values (128), (129), (1000000)) v (length);

-- The message quotes the value.
call t.fails($$select pgflow.create_flow('a-b')$$);
call t.fails($$select pgflow.add_step('slugs', 'run')$$);
call t.fails($$select pgflow.create_flow('')$$);

-- Slugs that differ only in case are different flows, steps and queues.
call t.flow('slugs_case', '[{"step_slug": "a"}, {"step_slug": "A", "deps_slugs": ["a"]}]');
call t.flow('Slugs_Case', '[{"step_slug": "a"}]');
select pgflow.run_flow('slugs_case', '"lower"') as lower, pgflow.run_flow('Slugs_Case', '"upper"') as upper \gset
select * from t.claim('SLUGS_CASE');
select * from t.claim('Slugs_Case');
select * from t.claim('slugs_case');
select * from t.complete(:'lower', 'a', '1');
select * from t.claim('slugs_case');
select * from t.steps(:'lower');
select * from pgflow.check_integrity();
