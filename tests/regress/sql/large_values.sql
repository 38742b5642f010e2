\pset null <null>
-- Values near what jsonb can hold (256 MB in one object). They compress well: what counts is their size when they are put together.
create function t.large(megabytes int) returns jsonb language sql as $$
  select to_jsonb(repeat('x', megabytes * 1024 * 1024))
$$;
call t.flow('large', '[{"step_slug": "a"}, {"step_slug": "b"}]');

-- They fit, each and together.
select pgflow.run_flow('large') as run \gset
select step_slug from t.claim('large');
select * from t.complete(:'run', 'a', t.large(100));
select * from t.complete(:'run', 'b', t.large(100));
select status, pg_column_size(output) < 10000000 as is_compressed, length(output ->> 'a') + length(output ->> 'b') as length, error_message
from t.run(:'run');

-- One alone is too large for an input or output of many parts like it, but not here.
select pgflow.run_flow('large') as run \gset
select step_slug from t.claim('large');
select * from t.complete(:'run', 'a', t.large(130));
select * from t.complete(:'run', 'b', '1');
select status, length(output ->> 'a') as length, error_message from t.run(:'run');

-- Together they are too large: the steps are completed, the run fails.
select pgflow.run_flow('large') as run \gset
select step_slug from t.claim('large');
select * from t.complete(:'run', 'a', t.large(130));
select * from t.complete(:'run', 'b', t.large(130));
select status, output, error_message from t.run(:'run');
select step_slug, status from t.steps(:'run');

-- The output of one step may be as large as a value can be; the other does not matter.
call t.flow('large_step', '[{"step_slug": "a"}, {"step_slug": "b"}]', '{"output_step_slug": "a"}');
select pgflow.run_flow('large_step') as run \gset
select step_slug from t.claim('large_step');
select * from t.complete(:'run', 'b', t.large(130));
select * from t.complete(:'run', 'a', t.large(130));
select status, length(output #>> '{}') as length, error_message from t.run(:'run');

-- So may the elements of a map be, but not together.
call t.flow('large_map', '[{"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('large_map', '[1, 2]') as run \gset
select task_index from t.claim('large_map');
select * from t.complete(:'run', 'm', t.large(130), 0);
select * from t.complete(:'run', 'm', t.large(130), 1);
select * from t.run(:'run');

-- An input that can be built is handed out; one that cannot fails its task, for good.
call t.flow('large_input', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('large_input', t.large(100)) as run \gset
select step_slug from t.claim('large_input');
select * from t.complete(:'run', 'a', t.large(130));
select step_slug, length(input ->> 'run') + length(input ->> 'a') as length from t.claim('large_input');
select * from t.complete(:'run', 'b', '1');
select pgflow.run_flow('large_input', t.large(130)) as run \gset
select step_slug from t.claim('large_input');
select * from t.complete(:'run', 'a', t.large(130));
select step_slug from t.claim('large_input');
select * from t.run(:'run');
select step_slug, attempt, status, error_message from t.tasks(:'run');
select * from pgflow.check_integrity();
