\pset null <null>
-- As if the time of a run were up.
create procedure t.time_up(run uuid) language sql as $$
  update pgflow.run_deadlines set due_at = clock_timestamp() - interval '1 second' where run_id = run
$$;
call t.flow('timeouts', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]', '{"run_timeout": 60, "max_attempts": 1}');
select pgflow.flow_graph('timeouts') -> 'run_timeout' as run_timeout;
select pgflow.run_flow('timeouts') as run, pgflow.run_flow('timeouts', start_at => clock_timestamp() + interval '1 hour') as later,
       pgflow.run_flow('timeouts') as in_time \gset
-- Counted from the start.
select due_at - coalesce(start_at, created_at) as after from pgflow.run_deadlines join pgflow.runs using (run_id)
where run_id in (:'run', :'later');
select pgflow.run_upkeep() = (select min(due_at) from pgflow.run_deadlines) as next;

-- Not yet, and then.
select * from t.run(:'run');
select step_slug from t.claim('timeouts', 1);
call t.time_up(:'run');
select pgflow.run_upkeep() > clock_timestamp() as ahead;
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');
select count(*) from pgflow.live_tasks where run_id = :'run';
select * from t.complete(:'run', 'a', '1');
select count(*) from pgflow.run_deadlines where run_id = :'run';

-- A run that ended in time is left alone, and its deadline goes.
select step_slug from t.claim('timeouts', 1);
select * from t.complete(:'in_time', 'a', '1');
select step_slug from t.claim('timeouts', 1);
select * from t.complete(:'in_time', 'b', '2');
call t.time_up(:'in_time');
select pgflow.run_upkeep() > clock_timestamp() as ahead;
select * from t.run(:'in_time');
select count(*) from pgflow.run_deadlines where run_id = :'in_time';

-- One that is still pending fails too.
call t.time_up(:'later');
select pgflow.run_upkeep();
select status, error_message, started_at from pgflow.runs where run_id = :'later';

-- A retry and a fork have the whole time again.
select status from pgflow.retry_run(:'run');
select due_at > clock_timestamp() + interval '55 seconds' as anew from pgflow.run_deadlines where run_id = :'run';
select pgflow.fork_run(:'in_time', '{b}') as fork \gset
select due_at > clock_timestamp() + interval '55 seconds' as anew from pgflow.run_deadlines where run_id = :'fork';
call t.time_up(:'fork');
select pgflow.run_upkeep() > clock_timestamp() as ahead;
select * from t.steps(:'fork');
-- Also while the first deadline has not come.
select status from pgflow.cancel_run(:'run');
update pgflow.run_deadlines set due_at = clock_timestamp() + interval '1 second' where run_id = :'run';
select status from pgflow.retry_run(:'run');
select due_at > clock_timestamp() + interval '55 seconds' as anew from pgflow.run_deadlines where run_id = :'run';

-- It belongs to the version: runs keep what their version had.
select version, changed from pgflow.define_flow('{"flow_slug": "timeouts", "max_attempts": 1, "run_timeout": 30, "steps": [{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]}');
select version, changed from pgflow.define_flow('{"flow_slug": "timeouts", "max_attempts": 1, "run_timeout": 30, "steps": [{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]}');
select version, run_timeout from pgflow.flow_versions where flow_slug = 'timeouts' order by 1;
call t.time_up(:'run');
select pgflow.run_upkeep();
select * from t.run(:'run');
-- create_flow says nothing about it, and leaves it.
select version from pgflow.create_flow('timeouts', max_attempts => 1);
select version from pgflow.create_flow('timeouts', max_attempts => 2);
select pgflow.flow_graph('timeouts') -> 'run_timeout' as run_timeout;
-- A document without it has none, and its runs have no deadline.
select version, changed from pgflow.define_flow('{"flow_slug": "timeouts", "steps": []}');
select pgflow.run_flow('timeouts') is not null;
select count(*) from pgflow.run_deadlines;

-- Many at once: a bounded number in a call, the oldest first.
call t.flow('timeouts_many', '[{"step_slug": "a"}]', '{"run_timeout": 1}');
select count(*) from pgflow.run_flows('timeouts_many', array_fill('1'::jsonb, '{60}'));
update pgflow.run_deadlines set due_at = clock_timestamp() - interval '1 second';
select pgflow.run_upkeep() <= clock_timestamp() as more;
select status, count(*) from pgflow.runs where flow_slug = 'timeouts_many' group by 1 order by 1;
select pgflow.run_upkeep();
select status, count(*) from pgflow.runs where flow_slug = 'timeouts_many' group by 1 order by 1;

-- Deadlines go with their runs.
select count(*) from pgflow.run_flows('timeouts_many', array_fill('1'::jsonb, '{3}'));
select pgflow.delete_flow('timeouts_many', true);
select count(*) from pgflow.run_deadlines;

call t.fails($$select pgflow.define_flow('{"flow_slug": "x", "run_timeout": 0, "steps": []}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "x", "run_timeout": "1 hour", "steps": []}')$$);
call t.fails($$select pgflow.define_flow('{"flow_slug": "x", "run_timeout": 2000000000, "steps": []}')$$);
select * from pgflow.check_integrity();
