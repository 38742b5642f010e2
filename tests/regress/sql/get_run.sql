\pset null <null>
-- What a page needs in one call.
call t.flow('get_run', '[{"step_slug": "b"}, {"step_slug": "a", "deps_slugs": ["b"]}]');
select pgflow.run_flow('get_run', '{"n": 1}') as run \gset
select step_slug from t.claim('get_run');
select * from t.complete(:'run', 'b', '0');
select array_agg(key order by key) from jsonb_object_keys(pgflow.get_run(:'run')) key;
select g #>> '{run,run_id}' = :'run' as mine, g #>> '{run,flow_slug}' as flow_slug, g #> '{run,flow_version}' as version,
       g #>> '{run,status}' as status, g #> '{run,payload}' as payload, g #> '{run,output}' as output
from pgflow.get_run(:'run') g;
select s ->> 'step_slug' as step_slug, s ->> 'status' as status, s -> 'output' as output
from jsonb_array_elements(pgflow.get_run(:'run') -> 'steps') s;
-- Every column of the two tables is there.
select 'run' as part, attname from pg_attribute where attrelid = 'pgflow.runs'::regclass and attnum > 0 and not attisdropped
  and attname in ('run_id', 'flow_slug', 'flow_version', 'status', 'payload', 'output', 'error_message', 'key', 'priority', 'created_at', 'start_at', 'started_at', 'finished_at')
  and not pgflow.get_run(:'run') -> 'run' ? attname
union all
select 'steps', attname from pg_attribute where attrelid = 'pgflow.step_states'::regclass and attnum > 0 and not attisdropped
  and attname in ('step_slug', 'status', 'remaining_deps', 'remaining_tasks', 'initial_tasks', 'output', 'error_message', 'skip_reason', 'started_at', 'finished_at')
  and not pgflow.get_run(:'run') #> '{steps,0}' ? attname;

call t.fails($$select pgflow.get_run(null)$$);
call t.fails($$select pgflow.get_run('00000000-0000-7000-8000-000000000000')$$);

-- Though STABLE, they see what the statement that calls them has done.
select pgflow.get_run(pgflow.run_flow('just_made')) #>> '{run,status}' as status from pgflow.define_flow('{"flow_slug": "just_made", "steps": [{"step_slug": "a"}]}');
select pgflow.flow_graph('just_now') ->> 'version' as version from pgflow.create_flow('just_now');
