\pset null <null>
call t.flow('retained', '[{"step_slug": "a"}]', '{"run_timeout": 1000}');
call t.flow('kept_beside', '[{"step_slug": "a"}]');
create function t.ended(flow_slug text, runs int) returns setof uuid language sql as $$
  select t.age(run_id) from (select pgflow.run_flow(flow_slug, idempotency_key => 'retention ' || n) as run_id from generate_series(1, runs) n) r,
  lateral (select status from pgflow.cancel_run(run_id)) c
$$;
create view t.retained as
select (select count(*) from pgflow.runs where flow_slug = 'retained') as runs,
       (select count(*) from pgflow.step_states where flow_slug = 'retained') as states,
       (select count(*) from pgflow.step_tasks where flow_slug = 'retained') as tasks,
       (select count(*) from pgflow.idempotency_keys where flow_slug = 'retained') as keys,
       (select count(*) from pgflow.run_deadlines) as deadlines;
select count(*) from t.ended('retained', 3);
select count(*) from t.ended('kept_beside', 2);
select pgflow.run_flow('retained') as live, pgflow.run_flow('retained') as young \gset
select t.age(:'live') as live \gset
select status from pgflow.cancel_run(:'young');
-- For ever, until something else is said.
call t.upkeep();
select * from t.retained;
select pgflow.set_retention('retained', '51 years');
select pgflow.run_upkeep() <= clock_timestamp() + interval '60 seconds' as in_a_minute;
select * from t.retained;

-- Ended runs go, by the time of their end; others stay, and so do those of other flows.
select pgflow.set_retention('retained', '49 years');
call t.upkeep();
select * from t.retained;
select case run_id when :'live' then 'live' when :'young' then 'young' end as run, status from pgflow.runs where flow_slug = 'retained' order by 1;
select count(*) from pgflow.runs where flow_slug = 'kept_beside';
select pgflow.set_retention('retained', '0');
call t.upkeep();
select case run_id when :'live' then 'live' when :'young' then 'young' end as run, status from pgflow.runs where flow_slug = 'retained' order by 1;

-- It is no part of the definition.
select version, keep from pgflow.create_flow('retained', description => 'again');
select version, changed from pgflow.define_flow('{"flow_slug": "retained", "run_timeout": 1000, "description": "again", "steps": [{"step_slug": "a"}]}');
select version, keep from pgflow.flows where flow_slug = 'retained';

-- A bounded number a call; flows share it.
select pgflow.set_retention('kept_beside', '1 year');
select count(*) from t.ended('retained', 1100);
select pgflow.run_upkeep() <= clock_timestamp() as more;
select (select runs from t.retained), count(*) as kept from pgflow.runs where flow_slug = 'kept_beside';
select pgflow.run_upkeep() <= clock_timestamp() as more;
select pgflow.run_upkeep() <= clock_timestamp() as more;
select * from t.retained;

-- Null keeps for ever again.
select pgflow.set_retention('retained', null), pgflow.set_retention('kept_beside', null);
select count(*) from t.ended('retained', 1);
call t.upkeep();
select runs from t.retained;

call t.fails($$select pgflow.set_retention('nope', '1 day')$$);
call t.fails($$select pgflow.set_retention('retained', '-1 day')$$);
call t.fails($$select pgflow.set_retention('retained', '1001 years')$$);
call t.fails($$select pgflow.set_retention(null, '1 day')$$);
create role regress_other;
grant usage on schema t to regress_other;
select pgflow.grant_access('regress_other', 'author');
set role regress_other;
call t.fails($$select pgflow.set_retention('retained', '1 day')$$);
reset role;
select pgflow.revoke_access('regress_other', 'author');
revoke usage on schema t from regress_other;
drop role regress_other;
select keep from pgflow.flows where flow_slug = 'retained';
select pgflow.delete_flow('retained', true), pgflow.delete_flow('kept_beside', true);
call t.upkeep();
select * from pgflow.check_integrity();
