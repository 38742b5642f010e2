\pset null <null>
call t.flow('delete', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}]');
-- Without runs it goes, with all its versions.
select pgflow.delete_flow('delete');
select (select count(*) from pgflow.flows where flow_slug = 'delete') as flows, (select count(*) from pgflow.flow_versions where flow_slug = 'delete') as versions,
       (select count(*) from pgflow.steps where flow_slug = 'delete') as steps, (select count(*) from pgflow.deps where flow_slug = 'delete') as deps;
call t.fails($$select pgflow.run_flow('delete')$$);
call t.fails($$select pgflow.delete_flow('delete')$$);

-- With runs it stays, ended ones too, unless they go with it.
call t.flow('delete', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}]');
select pgflow.run_flow('delete') as live \gset
select step_slug from t.claim('delete');
call t.fails($$select pgflow.delete_flow('delete')$$);
select (pgflow.cancel_run(:'live')).status;
call t.fails($$select pgflow.delete_flow('delete', false)$$);
select pgflow.run_flow('delete') as live \gset
select step_slug from t.claim('delete');
select pgflow.delete_flow('delete', true);
select (select count(*) from pgflow.flows where flow_slug = 'delete') as flows, (select count(*) from pgflow.runs where flow_slug = 'delete') as runs,
       (select count(*) from pgflow.step_states where flow_slug = 'delete') as states, (select count(*) from pgflow.step_tasks where flow_slug = 'delete') as tasks,
       (select count(*) from pgflow.live_tasks where run_id = :'live') as live;
call t.fails($$select pgflow.complete_step_task($1, 'a')$$, :'live');
select * from t.claim('delete');

-- The slug begins again at version 1; other flows do not notice.
call t.flow('delete_other', '[{"step_slug": "a"}]');
select pgflow.run_flow('delete_other') as other \gset
select * from pgflow.define_flow('{"flow_slug": "delete", "steps": [{"step_slug": "b"}]}');
select pgflow.delete_flow('delete', with_runs => true);
select t.work('delete_other');
select * from t.run(:'other');

call t.fails($$select pgflow.delete_flow(null)$$);
call t.fails($$select pgflow.delete_flow('delete_unknown', true)$$);
select * from pgflow.check_integrity();
