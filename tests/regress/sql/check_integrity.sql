\pset null <null>
-- Empty when all is well; what a superuser's hand breaks is found.
select * from pgflow.check_integrity();
call t.flow('integrity', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map"}, {"step_slug": "b", "deps_slugs": ["a", "m"]}]', '{"run_timeout": 1000}');
select pgflow.run_flow('integrity', '[1, 2]') as run \gset
select count(*) from t.claim('integrity', 2);
select * from t.complete(:'run', 'a', '1');
select * from pgflow.check_integrity();
create function t.found(damage text) returns text language plpgsql as $$
declare
  found text;
begin
  begin
    set local session_replication_role = replica;
    execute damage;
    select string_agg(t.plain(problem), E'\n' order by problem) into found from pgflow.check_integrity();
    raise exception using errcode = 'ZZ999';
  exception when sqlstate 'ZZ999' then
    return found;
  end;
end $$;
select damage, t.found(damage) is not null as found
from (values
  ('update pgflow.step_states set remaining_deps = 2 where flow_slug = ''integrity'' and step_slug = ''b'''),
  ('update pgflow.step_states set remaining_deps = 0 where flow_slug = ''integrity'' and step_slug = ''b'''),
  ('update pgflow.step_states set status = ''pending'', finished_at = null where flow_slug = ''integrity'' and step_slug = ''a'''),
  ('update pgflow.runs set status = ''completed'', finished_at = clock_timestamp() where flow_slug = ''integrity'''),
  ('delete from pgflow.event_waiters'),
  ('update pgflow.event_waiters set name = name || ''?'''),
  ('insert into pgflow.event_waiters select run_id, ''a'', 0, 0, ''e'', null, ''infinity'' from pgflow.runs where flow_slug = ''integrity'''),
  ('delete from pgflow.live_tasks where run_id in (select run_id from pgflow.runs where flow_slug = ''integrity'')'),
  ('delete from pgflow.run_deadlines'),
  ('update pgflow.run_deadlines set run_id = gen_random_uuid()'),
  ('delete from pgflow.step_states where flow_slug = ''integrity'' and step_slug = ''b'''),
  ('delete from pgflow.step_tasks where flow_slug = ''integrity'' and step_slug = ''m'' and task_index = 1')) v (damage);
select * from pgflow.check_integrity();

-- A counter that was damaged is not counted below zero: the call changes nothing.
call t.flow('integrity_counters', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('integrity_counters', '[1]') as run \gset
select step_slug from t.claim('integrity_counters');
create function t.refused(damage text, run uuid, step text) returns text language plpgsql as $$
declare
  refused text;
  before text;
begin
  begin
    execute damage;
    before := t.snapshot(run);
    refused := t.error(format('select t.complete($1, %L)', step), run);
    raise exception using errcode = 'ZZ999', message = refused || case when t.snapshot(run) <> before then ', but not all of it' else '' end;
  exception when sqlstate 'ZZ999' then
    return sqlerrm;
  end;
end $$;
select t.refused(damage, :'run', step)
from (values
  ('update pgflow.step_states set remaining_deps = 0 where flow_slug = ''integrity_counters'' and step_slug = ''b''', 'a'),
  ('update pgflow.step_states set remaining_tasks = 0 where flow_slug = ''integrity_counters'' and step_slug = ''m''', 'm'),
  ('update pgflow.runs set remaining_leaves = 0 where flow_slug = ''integrity_counters''', 'm')) v (damage, step);
select accepted from pgflow.release_step_task(:'run', 'a');
select accepted from pgflow.release_step_task(:'run', 'm');
select t.work('integrity_counters');
select status from t.run(:'run');
select * from pgflow.check_integrity();
