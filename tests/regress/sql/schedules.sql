\pset null <null>
-- The flow has no steps, so a run of it is over at once.
call t.flow('scheduled', '[]');
-- As if the schedule had last been looked at so long ago. The tick that was next then is the one before.
create procedure t.miss(schedule text, ago interval) language sql as $$
  update pgflow.schedules set next_run_at = clock_timestamp() - ago where name = schedule
$$;
create view t.schedules as
select name, next_run_at > clock_timestamp() as ahead, last_tick_at is not null as ticked, last_run_at is not null as ran,
       last_run_id is not distinct from (select run_id from pgflow.runs where idempotency_key like 'schedule ' || name || ' %' order by run_id desc limit 1) as last,
       last_error
from pgflow.schedules;
create function t.runs_of(schedule text) returns bigint language sql as $$
  select count(*) from pgflow.runs where idempotency_key like 'schedule ' || schedule || ' %'
$$;

select name, flow_slug, cron, payload, time_zone, catch_up, priority, key, owner = session_user as mine, created_at = updated_at as new,
       next_run_at = date_trunc('hour', created_at at time zone 'UTC') at time zone 'UTC' + interval '1 hour' as on_the_hour, last_tick_at, last_run_at, last_run_id, last_error
from pgflow.schedule_flow('hourly', 'scheduled', '@hourly');
-- Equal arguments change nothing.
select xmin as before from pgflow.schedules where name = 'hourly' \gset
select name from pgflow.schedule_flow('hourly', 'scheduled', '@hourly', '{}', 'utc', 'none', 0, null);
select xmin = :'before' as same from pgflow.schedules where name = 'hourly';
-- Nothing is due.
select pgflow.run_upkeep() <= (select min(next_run_at) from pgflow.schedules) as by_then;
select t.runs_of('hourly');

-- Due: one run, with all that the schedule says, and no other one however often it is looked at.
select name from pgflow.schedule_flow('hourly', 'scheduled', '@hourly', '{"a": 1}', priority => 7, key => 'acme');
select xmin <> :'before' as changed, created_at < updated_at as later from pgflow.schedules where name = 'hourly';
call t.miss('hourly', '1 second');
select next_run_at as tick from pgflow.schedules where name = 'hourly' \gset
call t.upkeep();
call t.upkeep();
select status, payload, key, priority, created_by = session_user as mine, created_for, start_at, parent_run_id,
       idempotency_key = to_char(:'tick'::timestamptz at time zone 'UTC', '"schedule hourly "YYYY-MM-DD"T"HH24:MI:SS"Z"') as by_tick
from pgflow.runs where flow_slug = 'scheduled';
select * from t.schedules;
select last_tick_at = :'tick' as tick, last_run_at between :'tick' and clock_timestamp() as started from pgflow.schedules where name = 'hourly';
-- The same tick again finds its run.
update pgflow.schedules set next_run_at = :'tick' where name = 'hourly';
call t.upkeep();
select t.runs_of('hourly');
select * from t.schedules;

-- Missed ticks. Each hour half an hour from now, four of which are over; the last was half an hour ago.
select format('%s * * * *', extract(minute from clock_timestamp() + interval '30 minutes')) as half_past \gset
select count(pgflow.schedule_flow('catch_up_' || c, 'scheduled', :'half_past', catch_up => c)) from unnest('{none,one,all}'::text[]) c;
update pgflow.schedules set next_run_at = next_run_at - interval '4 hours' where name like 'catch_up%';
select next_run_at as first_tick from pgflow.schedules where name = 'catch_up_all' \gset
call t.upkeep();
select name, t.runs_of(name), next_run_at = :'first_tick'::timestamptz + interval '4 hours' as next, last_tick_at = :'first_tick'::timestamptz + interval '3 hours' as last_tick, last_run_id is null as never_ran
from pgflow.schedules where name like 'catch_up%' order by name;
select substring(idempotency_key from 10 for 12) as schedule, (substring(idempotency_key from 23))::timestamptz - :'first_tick' as tick
from pgflow.runs where idempotency_key like 'schedule catch_up_one %' or idempotency_key like 'schedule catch_up_all %' order by 1, 2;
-- The one that is just due is not missed, though those before it are.
select count(pgflow.schedule_flow('late_' || c, 'scheduled', '0 * * * * *', catch_up => c)) from unnest('{none,one}'::text[]) c;
update pgflow.schedules set next_run_at = next_run_at - interval '4 minutes' where name like 'late%';
call t.upkeep();
select name, t.runs_of(name) from pgflow.schedules where name like 'late%' order by name;
select pgflow.unschedule_flow(name) from pgflow.schedules where name like 'late%' or name like 'catch_up%';
-- No more than a thousand a call; the rest by the next ones.
select name from pgflow.schedule_flow('backlog', 'scheduled', '* * * * *', '[1, 2]', catch_up => 'all');
update pgflow.schedules set next_run_at = date_trunc('minute', clock_timestamp()) - interval '1499 minutes' where name = 'backlog';
select pgflow.run_upkeep() <= clock_timestamp() as more;
select t.runs_of('backlog'), ahead, last from t.schedules where name = 'backlog';
call t.upkeep();
select t.runs_of('backlog') between 1500 and 1501 as all, ahead, last from t.schedules where name = 'backlog';
select count(distinct payload), min(payload::text) from pgflow.runs where idempotency_key like 'schedule backlog %';
select pgflow.unschedule_flow('backlog');

-- What one schedule cannot start stops no other. Its next tick is tried again.
call t.flow('scheduled_map', '[{"step_slug": "m", "step_type": "map"}]');
select name from pgflow.schedule_flow('broken', 'scheduled_map', '@yearly');
select name from pgflow.schedule_flow('sound', 'scheduled', '@yearly');
call t.miss('broken', '2 seconds');
call t.miss('sound', '1 second');
call t.upkeep();
select * from t.schedules where name in ('broken', 'sound') order by name;
select count(*) from pgflow.runs where flow_slug = 'scheduled_map';
-- Put right, the error is gone, and it ticks from now on; what it has done stays.
select last_error, last_tick_at is not null as ticked, next_run_at > clock_timestamp() as ahead from pgflow.schedule_flow('broken', 'scheduled_map', '@daily', '[]');
call t.miss('broken', '0');
call t.upkeep();
select * from t.schedules where name = 'broken';
select status from pgflow.runs where flow_slug = 'scheduled_map';
-- Nor does one that can no longer be read, or whose owner is gone. The first rests until it is replaced.
create role regress_gone;
select pgflow.grant_access('regress_gone', 'author'), pgflow.grant_run('scheduled', 'regress_gone');
set role regress_gone;
select owner from pgflow.schedule_flow('orphan', 'scheduled', '@daily');
reset role;
select pgflow.revoke_access('regress_gone', 'author'), pgflow.revoke_run('scheduled', 'regress_gone');
drop role regress_gone;
update pgflow.schedules set time_zone = 'Europe/Atlantis' where name = 'broken';
call t.miss('broken', '2 seconds');
call t.miss('orphan', '1 second');
call t.upkeep();
select * from t.schedules where name in ('broken', 'orphan') order by name;

-- The wall clock of a zone.
select name, next_run_at at time zone 'America/New_York' = (next_run_at at time zone 'America/New_York')::date + time '02:30' as half_past_two
from pgflow.schedule_flow('zone', 'scheduled', '30 2 * jan mon', time_zone => 'america/new_york');
select time_zone from pgflow.schedules where name = 'zone';

-- Schedules go with their flow.
select pgflow.delete_flow('scheduled_map', true);
select count(*) from pgflow.schedules where name = 'broken';

-- Only its owner and members replace and remove a schedule; its owner stays.
create role regress_owner;
create role regress_member in role regress_owner;
create role regress_other;
grant usage on schema t to regress_owner, regress_other;
select pgflow.grant_access(role, 'author'), pgflow.grant_run('scheduled', role) from (values ('regress_owner'::name), ('regress_other')) v (role);
set role regress_owner;
select owner from pgflow.schedule_flow('owned', 'scheduled', '@daily');
set role regress_other;
call t.fails($$select pgflow.schedule_flow('owned', 'scheduled', '@hourly')$$);
call t.fails($$select pgflow.schedule_flow('owned', 'scheduled', '@daily')$$);
call t.fails($$select pgflow.unschedule_flow('owned')$$);
set role regress_member;
select owner, cron from pgflow.schedule_flow('owned', 'scheduled', '@hourly');
reset role;
call t.miss('owned', '0');
call t.upkeep();
select created_by from pgflow.runs where idempotency_key like 'schedule owned %';
set role regress_member;
select pgflow.unschedule_flow('owned');
reset role;
select pgflow.revoke_access(role, 'author') from (values ('regress_owner'::name), ('regress_other')) v (role);
revoke usage on schema t from regress_owner, regress_other;
drop role regress_owner, regress_member, regress_other;
call t.fails($$select pgflow.unschedule_flow('owned')$$);

-- What is wrong is said, all of it at once.
call t.fails($$select pgflow.schedule_flow('x', 'nope', '@daily')$$);
call t.fails($$select pgflow.schedule_flow('', 'scheduled', '60 * * * *', time_zone => 'CEST', catch_up => 'two')$$);
call t.fails($$select pgflow.schedule_flow('x', 'scheduled', '* * *')$$);
call t.fails($$select pgflow.schedule_flow('x', 'scheduled', '0 0 30 2 *')$$);
call t.fails($$select pgflow.schedule_flow('x', 'scheduled', '@reboot')$$);
call t.fails($$select pgflow.schedule_flow('x', 'scheduled', '@daily', key => '')$$);
call t.fails($$select pgflow.schedule_flow('x', 'scheduled', '@daily', null)$$);
call t.fails($$select pgflow.schedule_flow(null, 'scheduled', '@daily')$$);
call t.fails($$select pgflow.unschedule_flow(null)$$);
select count(*) from pgflow.schedules where name = 'x';

select pgflow.unschedule_flow(name) from pgflow.schedules;
call t.upkeep();
select pgflow.delete_flow('scheduled', true);
select * from pgflow.check_integrity();
