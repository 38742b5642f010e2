\pset null <null>
call t.flow('freeze', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select version, frozen_at is not null as frozen from pgflow.flow_versions where flow_slug = 'freeze' order by 1;

-- A run that was rolled back froze nothing.
begin;
select pgflow.run_flow('freeze') is not null;
rollback;
select version, frozen_at is not null as frozen from pgflow.flow_versions where flow_slug = 'freeze' order by 1;
select flow_version, step_slug from pgflow.add_step('freeze', 'b', '{a}', max_attempts => 1);

-- A change after the first run opens the next version, once; equal arguments open none.
select pgflow.run_flow('freeze') as old \gset
select version, frozen_at is not null as frozen from pgflow.flow_versions where flow_slug = 'freeze' order by 1;
select flow_version from pgflow.add_step('freeze', 'b', '{a}', max_attempts => 1);
select flow_version from pgflow.add_step('freeze', 'c', '{b}');
select flow_version from pgflow.add_step('freeze', 'd', '{c}');
select version, frozen_at is not null as frozen from pgflow.flow_versions where flow_slug = 'freeze' order by 1;
select flow_version, array_agg(step_slug order by step_index) from pgflow.steps where flow_slug = 'freeze' group by 1 order by 1;
select flow_version, array_agg(from_step_slug || ' ' || to_step_slug order by to_step_slug) from pgflow.deps
where flow_slug = 'freeze' group by 1 order by 1;

-- Runs keep their version and finish on it, while others start on the next.
select pgflow.run_flow('freeze') as new \gset
select flow_version, count(*) from pgflow.runs where flow_slug = 'freeze' group by 1 order by 1;
select t.work('freeze');
select * from t.steps(:'old');
select * from t.run(:'old');
select * from t.steps(:'new');
select * from t.run(:'new');
select flow_slug, version from pgflow.flows where flow_slug = 'freeze';

-- The second run of a version changes nothing in its definition.
select xmin as before, frozen_at from pgflow.flow_versions where flow_slug = 'freeze' and version = 2 \gset
select pgflow.run_flow('freeze') as newer \gset
select xmin = :'before' as untouched, frozen_at = :'frozen_at' as same from pgflow.flow_versions
where flow_slug = 'freeze' and version = 2;
select t.work('freeze');
select * from pgflow.check_integrity();
