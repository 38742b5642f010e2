\pset null <null>
-- Nobody runs a flow by a detour that they may not run: neither as a step of a flow of their own, nor by a schedule.
create role regress_author;
create role regress_victim;
grant usage on schema t to regress_author, regress_victim;
select pgflow.grant_access('regress_author', 'author'), pgflow.grant_access('regress_victim', 'author');
set role regress_victim;
call t.flow('victims', '[{"step_slug": "only"}]');
reset role; set role regress_author;
call t.flow('own_child', '[{"step_slug": "only"}]');
call t.flow('borrows', '[{"step_slug": "borrow", "executor": "flow", "target": "victims"}, {"step_slug": "own", "executor": "flow", "target": "own_child"}]');
call t.fails($$select pgflow.schedule_flow('borrowed', 'victims', '@hourly')$$);
select pgflow.run_flow('borrows') as run \gset
reset role;
call t.upkeep();
select step_slug, status, error_message from t.steps(:'run');
select count(*) from pgflow.runs where flow_slug = 'victims';

-- Once it is granted, it is theirs to run; when that ends, schedules say so.
select pgflow.grant_run('victims', 'regress_author');
set role regress_author;
select owner from pgflow.schedule_flow('borrowed', 'victims', '@hourly');
select pgflow.run_flow('borrows') as run \gset
reset role;
call t.upkeep();
select step_slug, status, error_message from t.steps(:'run');
select count(*) from pgflow.runs where flow_slug = 'victims';
-- The child was made by whoever made the parent; its own owner looks after it, and so does who made it.
set role regress_author;
select flow_slug, status from pgflow.runs where flow_slug = 'victims';
reset role; set role regress_victim;
select flow_slug, status from pgflow.runs;
select jsonb_array_length(pgflow.get_run(run_id) -> 'steps') as steps from pgflow.runs;
call t.fails('select pgflow.get_run($1)', :'run');
call t.fails($$select pgflow.unschedule_flow('borrowed')$$);
reset role;
select pgflow.revoke_run('victims', 'regress_author');
update pgflow.schedules set next_run_at = clock_timestamp() - interval '1 second' where name = 'borrowed';
call t.upkeep();
select last_error, last_run_id is null as none from pgflow.schedules where name = 'borrowed';

-- Secrets and retention of a flow are its owner's.
set role regress_author;
call t.fails($$select pgflow.set_http_secrets('{}', 'victims')$$);
call t.fails($$select pgflow.set_http_secrets('{}')$$);
call t.fails($$select pgflow.set_retention('victims', '1 day')$$);
call t.fails($$select pgflow.grant_run('victims', 'regress_author')$$);
call t.fails($$select pgflow.pause_flow('victims')$$);
reset role;

select pgflow.delete_flow('borrows', true), pgflow.delete_flow('own_child', true), pgflow.delete_flow('victims', true);
select pgflow.revoke_access(role_name, capability) from pgflow.access_grants;
revoke usage on schema t from regress_author, regress_victim;
drop role regress_author, regress_victim;
