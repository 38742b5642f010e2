\pset null <null>
-- The defaults.
select flow_slug, version, owner = current_user as mine, description, created_at = updated_at as new
from pgflow.create_flow('create_flow');
select version, max_attempts, base_delay, timeout, max_delay, output_step_slug, frozen_at from pgflow.flow_versions
where flow_slug = 'create_flow';

-- Equal arguments: a no-op.
select xmin as before, updated_at from pgflow.flows where flow_slug = 'create_flow' \gset
select version, updated_at = :'updated_at' as untouched from pgflow.create_flow('create_flow');
select xmin = :'before' as untouched from pgflow.flows where flow_slug = 'create_flow';

-- Other arguments: a change, in place as long as no run has seen it.
select version, description from pgflow.create_flow('create_flow', 7, 8, 9, 10, 'last', 'what it does');
select version, max_attempts, base_delay, timeout, max_delay, output_step_slug from pgflow.flow_versions
where flow_slug = 'create_flow';
select version, description from pgflow.create_flow('create_flow', max_attempts => 1);
select version, max_attempts, base_delay, timeout, max_delay, output_step_slug from pgflow.flow_versions
where flow_slug = 'create_flow';

-- Steps stay when an option of their flow changes, in place or by the next version.
select (pgflow.add_step('create_flow', 'a')).step_index, (pgflow.add_step('create_flow', 'b', '{a}')).step_index;
select version from pgflow.create_flow('create_flow', max_attempts => 2);
select pgflow.run_flow('create_flow') as run \gset
select version from pgflow.create_flow('create_flow', max_attempts => 2);
select version from pgflow.create_flow('create_flow', max_attempts => 3);
select flow_version, step_slug, step_index from pgflow.steps where flow_slug = 'create_flow' order by 1, 3;
select flow_version, from_step_slug, to_step_slug from pgflow.deps where flow_slug = 'create_flow' order by 1;

-- A description does not steer a run: it changes without a new version.
select pgflow.run_flow('create_flow') as run \gset
select version, description from pgflow.create_flow('create_flow', description => 'new words');
select version, max_attempts, frozen_at is not null as frozen from pgflow.flow_versions
where flow_slug = 'create_flow' order by 1;

-- Faults of a definition are 22023, and nothing is stored.
call t.fails($$select pgflow.create_flow(null)$$);
call t.fails($$select pgflow.create_flow('create_flow_bad', max_attempts => 0)$$);
call t.fails($$select pgflow.create_flow('create_flow_bad', max_attempts => -2147483648)$$);
call t.fails($$select pgflow.create_flow('create_flow_bad', base_delay => -1)$$);
call t.fails($$select pgflow.create_flow('create_flow_bad', timeout => -1)$$);
call t.fails($$select pgflow.create_flow('create_flow_bad', max_delay => -1)$$);
call t.fails($$select pgflow.create_flow('create_flow_bad', output_step_slug => 'not a slug')$$);
select count(*) from pgflow.flows where flow_slug = 'create_flow_bad';
select * from pgflow.check_integrity();
