-- Procedures that make calls again and again in one backend, each kind its own way; they commit every so often.

create schema if not exists fuzz;
select pgflow.define_flow('{"flow_slug": "fuzz_memory", "base_delay": 0, "steps": [{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]}');
select pgflow.define_flow('{"flow_slug": "fuzz_memory_map", "base_delay": 0, "steps": [{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]}');
select pgflow.define_flow('{"flow_slug": "fuzz_memory_people", "steps": [{"step_slug": "ask", "executor": "external"}, {"step_slug": "press", "start_mode": "manual"}]}');

-- Runs are started, claimed and completed one by one.
create procedure fuzz.memory_tasks(calls int, commits boolean = true) language plpgsql as $$
declare
  task record;
begin
  for n in 1..calls / 5 loop
    perform pgflow.run_flow('fuzz_memory', '{"k": 1}');
    for i in 1..2 loop
      select * from pgflow.claim_step_tasks('fuzz_memory', 1) into task;
      perform pgflow.complete_step_task(task.run_id, task.step_slug, '{"some": ["output"]}', task.task_index, task.lease);
    end loop;
    if commits and n % 20 = 0 then commit; end if;
  end loop;
  perform pgflow.prune_runs('0', 100000);
end $$;

-- Batches: run_flows, settle_and_claim, settle_step_tasks.
create procedure fuzz.memory_batches(calls int, commits boolean = true) language plpgsql as $$
declare
  results jsonb = '[]';
begin
  for n in 1..calls / 40 loop
    perform pgflow.run_flows('fuzz_memory_map', array['[1, 2, 3, 4]', '[5, 6]']::jsonb[]);
    loop
      select coalesce(jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index, 'lease', lease, 'output', input)), '[]')
      from pgflow.settle_and_claim(results, 'fuzz_memory_map', 5) into results;
      exit when results = '[]';
      perform pgflow.settle_step_tasks(jsonb_path_query_array(results, '$[0]'));
    end loop;
    if commits and n % 3 = 0 then commit; end if;
  end loop;
  perform pgflow.prune_runs('0', 100000);
end $$;

-- Refusals of every kind, caught in subtransactions.
create procedure fuzz.memory_errors(calls int, commits boolean = true) language plpgsql as $$
declare
  sql text;
  run uuid := pgflow.run_flow('fuzz_memory_people');
begin
  for n in 1..calls / 10 loop
    foreach sql in array '{
      "select pgflow.run_flow(null)",
      "select pgflow.run_flow(''no_such_flow'')",
      "select pgflow.run_flow(''fuzz_memory_map'', ''{}'')",
      "select pgflow.define_flow(''{\"flow_slug\": 1, \"steps\": [{}, {\"step_slug\": \"a\", \"deps_slugs\": [\"a\", \"b\"]}]}'')",
      "select pgflow.settle_step_tasks(''[{\"run_id\": \"00000000-0000-7000-8000-000000000000\", \"step_slug\": 1}]'')",
      "select pgflow.complete_step_task(''00000000-0000-7000-8000-000000000000'', ''a'')",
      "select pgflow.claim_step_tasks(''fuzz_memory'', -1)",
      "select pgflow.delete_flow(''fuzz_memory_people'')",
      "select pgflow.retry_run($1)",
      "select 1 / (row_number() over () - 1) from pgflow.run_flows(''fuzz_memory'', array[''1'', ''2'']::jsonb[])"}'::text[] loop
      begin
        execute sql using run;
        raise 'not refused: %', sql;
      exception when sqlstate '22004' or sqlstate '22023' or sqlstate 'PT404' or sqlstate 'PT409' or division_by_zero then
        null;
      end;
    end loop;
    if commits and n % 10 = 0 then commit; end if;
  end loop;
  perform pgflow.cancel_run(run), pgflow.prune_runs('0', 100000);
end $$;

-- Definitions that change all the time, so that nothing cached is ever of use again.
create procedure fuzz.memory_definitions(calls int, commits boolean = true) language plpgsql as $$
declare
  slug text;
  chain jsonb;
begin
  select jsonb_agg(jsonb_build_object('step_slug', 's' || i, 'deps_slugs', case i when 1 then '{}' else array['s' || i - 1] end)) from generate_series(1, 40) i into chain;
  for n in 1..calls / 5 loop
    slug := 'fuzz_memory_' || n % 7;
    perform pgflow.define_flow(jsonb_build_object('flow_slug', slug, 'timeout', 1 + n, 'steps', chain));
    perform pgflow.run_flow(slug);
    perform pgflow.add_step(slug, 's41', array['s40'], timeout => n + 1);
    perform pgflow.create_flow(slug, max_attempts => 1 + n % 5);
    perform pgflow.run_flow(slug);
    if n % 7 = 0 then
      perform pgflow.delete_flow('fuzz_memory_' || i, true) from generate_series(0, 6) i;
      if commits then commit; end if;
    end if;
  end loop;
  perform pgflow.delete_flow(flow_slug, true) from pgflow.flows where flow_slug ~ '^fuzz_memory_[0-9]$';
end $$;

-- Flows without steps.
create procedure fuzz.memory_empty_flows(calls int, commits boolean = true) language plpgsql as $$
begin
  for n in 1..calls / 3 loop
    perform pgflow.define_flow('{"flow_slug": "fuzz_empty", "steps": []}');
    perform pgflow.run_flow('fuzz_empty');
    perform pgflow.delete_flow('fuzz_empty', true);
    if commits and n % 10 = 0 then commit; end if;
  end loop;
end $$;

-- What is seldom called.
create procedure fuzz.memory_rest(calls int, commits boolean = true) language plpgsql as $$
declare
  run uuid;
  task record;
begin
  for n in 1..calls / 18 loop
    run := pgflow.run_flow('fuzz_memory', '[]', 'key ' || n, start_at => clock_timestamp());
    perform pgflow.run_flow('fuzz_memory', '[]', 'key ' || n);
    perform pgflow.get_run(run), pgflow.flow_graph('fuzz_memory'), pgflow_locks.lock_run(run), pgflow_locks.run_key(run), pgflow_locks.queue_key('q');
    select * from pgflow.claim_step_tasks('fuzz_memory', 1, 5, 'worker') into task;
    perform pgflow.extend_step_task(run, 'a', 0, task.lease), pgflow.release_step_task(run, 'a', 0, task.lease);
    perform pgflow.cancel_run(run, 'why not');
    perform pgflow.retry_run(run);
    select * from pgflow.claim_step_tasks('fuzz_memory', 1) into task;
    perform pgflow.fail_step_task(task.run_id, task.step_slug, 'no', retryable => false);
    perform pgflow.cancel_run(pgflow.fork_run(task.run_id, '{a}', '{}'));
    run := pgflow.run_flow('fuzz_memory_people');
    perform pgflow.complete_step(run, 'ask', '1'), pgflow.start_step(run, 'press');
    perform pgflow.cancel_run(run);
    if commits and n % 10 = 0 then commit; end if;
  end loop;
  perform pgflow.prune_runs('0', 100000);
end $$;

-- Set-returning functions that are not read to the end.
create procedure fuzz.memory_unread(calls int, commits boolean = true) language plpgsql as $$
declare
  c refcursor;
  r record;
  run uuid;
begin
  for n in 1..calls / 3 loop
    if n % 30 = 1 then
      execute 'select pgflow.run_flows(''fuzz_memory'', array_fill(''1''::jsonb, array[60])) limit 1' into r;
      run := r.run_flows;
    end if;
    execute 'select pgflow.claim_step_tasks(''fuzz_memory'', 2) limit 1' into r;
    open c for execute 'select pgflow.settle_step_tasks(jsonb_build_array(a, a, a)) from jsonb_build_object(''run_id'', $1, ''step_slug'', ''a'') a' using run;
    fetch c into r;
    close c;
    open c for select * from pgflow.define_flow('{"flow_slug": "fuzz_memory", "base_delay": 0, "steps": [{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]}');
    close c;
    if commits and n % 30 = 0 then rollback; end if;
  end loop;
  if commits then rollback; end if;
end $$;
