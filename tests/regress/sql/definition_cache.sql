\pset null <null>
-- One session sees flows of one slug and one version but of several shapes; each run must get the shape that is there now.
-- Rolled back:
begin;
call t.flow('cache', '[{"step_slug": "a"}, {"step_slug": "gone", "deps_slugs": ["a"]}]', '{"base_delay": 1}');
select pgflow.run_flow('cache') as run \gset
select * from t.steps(:'run');
rollback;
call t.fails($$select pgflow.run_flow('cache')$$);
call t.flow('cache', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "c", "deps_slugs": ["b"]}]');
select pgflow.run_flow('cache') as run \gset
select t.work('cache');
select * from t.steps(:'run');

-- Deleted and made again:
select pgflow.delete_flow('cache', true);
call t.fails($$select pgflow.run_flow('cache')$$);
call t.flow('cache', '[{"step_slug": "m", "step_type": "map", "max_attempts": 1}, {"step_slug": "a", "deps_slugs": ["m"]}]');
select version from pgflow.flows where flow_slug = 'cache';
select pgflow.run_flow('cache', '[7]') as run \gset
select * from t.claim('cache');
select * from t.fail(:'run', 'm', 'no');
select * from t.run(:'run');

-- Deleted, and that rolled back; run, deleted and made again in one transaction:
begin;
select pgflow.delete_flow('cache', true);
call t.flow('cache', '[{"step_slug": "x"}]');
select pgflow.run_flow('cache') as other \gset
select step_slug from t.claim('cache');
rollback;
select pgflow.run_flow('cache', '[8]') as run \gset
select * from t.claim('cache');
select * from t.complete(:'run', 'm', '8');
select t.work('cache');
select * from t.run(:'run');

-- Within a savepoint: a next version that never was, then another one of that number.
begin;
savepoint here;
select flow_version from pgflow.add_step('cache', 'lost', '{a}');
select pgflow.run_flow('cache', '[9]') as run \gset
select step_slug from t.steps(:'run');
rollback to here;
select flow_version from pgflow.add_step('cache', 'found', '{a}');
select pgflow.run_flow('cache', '[9]') as run \gset
select step_slug from t.steps(:'run');
select t.work('cache');
select * from t.run(:'run');
commit;

-- Changed in place before its first run, after another session's eyes (here: a rolled back run) have seen it:
call t.flow('cache_place', '[{"step_slug": "a"}]');
begin;
select pgflow.run_flow('cache_place') is not null;
rollback;
call t.flow('cache_place', '[{"step_slug": "a", "max_attempts": 1, "when_exhausted": "skip"}, {"step_slug": "b"}]');
select pgflow.run_flow('cache_place') as run \gset
select step_slug from t.claim('cache_place');
select * from t.fail(:'run', 'a', 'no');
select * from t.steps(:'run');
select version from pgflow.flows where flow_slug = 'cache_place';
select * from pgflow.check_integrity();
