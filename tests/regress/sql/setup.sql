-- What the other files rely on: helpers that show what a user can see, without ids and times.
create extension pgflow;
create schema t;

-- Ids out of messages, and nothing of a megabyte.
create function t.plain(message text) returns text language sql as $$
  select case when length(m) > 2000 then left(m, 60) || format('… (%s characters)', length(m)) else m end
  from regexp_replace(message, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<uuid>', 'g') m
$$;

-- Runs a statement that may use $1, and says how it failed.
create function t.error(statement text, run uuid default null) returns text language plpgsql as $$
declare
  state text;
  message text;
  detail text;
  hint text;
begin
  execute statement using run;
  return 'no error';
exception when others then
  get stacked diagnostics state = returned_sqlstate, message = message_text,
    detail = pg_exception_detail, hint = pg_exception_hint;
  return concat_ws(E'\n', state || ': ' || t.plain(message),
    'DETAIL:  ' || nullif(t.plain(detail), ''), 'HINT:  ' || nullif(t.plain(hint), ''));
end $$;

create function t.sqlstate(statement text, run uuid default null) returns text language sql as $$
  select split_part(t.error(statement, run), ':', 1)
$$;

create procedure t.fails(statement text, run uuid default null) language plpgsql as $$
begin
  raise notice using message = t.error(statement, run);
end $$;

create procedure t.flow(flow_slug text, steps jsonb, options jsonb default '{}') language sql as $$
  select pgflow.define_flow(jsonb_build_object('flow_slug', flow_slug, 'steps', steps) || options);
$$;

create function t.run(run uuid) returns table (status text, output jsonb, error_message text) language sql as $$
  select status, output, error_message from pgflow.runs where run_id = run
$$;

create function t.steps(run uuid)
returns table (step_slug text, status text, output jsonb, skip_reason text, error_message text) language sql as $$
  select ss.step_slug, ss.status, ss.output, skip_reason, ss.error_message
  from pgflow.runs r
  join pgflow.step_states ss using (run_id)
  join pgflow.steps s on (s.flow_slug, s.flow_version, s.step_slug) = (r.flow_slug, r.flow_version, ss.step_slug)
  where run_id = run
  order by step_index
$$;

create function t.counts(run uuid)
returns table (step_slug text, status text, remaining_deps int, initial_tasks int, remaining_tasks int) language sql as $$
  select ss.step_slug, ss.status, remaining_deps, initial_tasks, remaining_tasks
  from pgflow.runs r
  join pgflow.step_states ss using (run_id)
  join pgflow.steps s on (s.flow_slug, s.flow_version, s.step_slug) = (r.flow_slug, r.flow_version, ss.step_slug)
  where run_id = run
  order by step_index
$$;

create function t.tasks(run uuid)
returns table (step_slug text, task_index int, attempt int, status text, output jsonb, error_message text) language sql as $$
  select st.step_slug, task_index, attempt, st.status, st.output, st.error_message
  from pgflow.runs r
  join pgflow.step_tasks st using (run_id)
  join pgflow.steps s on (s.flow_slug, s.flow_version, s.step_slug) = (r.flow_slug, r.flow_version, st.step_slug)
  where run_id = run
  order by step_index, task_index, attempt
$$;

-- Claims remember their leases here, so that the calls below settle as the claimer would.
create table t.leases (
  run_id uuid, step_slug text, task_index int, lease bigint, lease_expires_at timestamptz,
  primary key (run_id, step_slug, task_index)
);

create function t.claim(queue text, max_tasks int default 10, lease_seconds int default null, worker_id text default null)
returns table (step_slug text, task_index int, attempt int, input jsonb) language sql as $$
  with claimed as (
    select * from pgflow.claim_step_tasks(queue, max_tasks, lease_seconds, worker_id)
  ), kept as (
    insert into t.leases as l
    select run_id, step_slug, task_index, lease, lease_expires_at from claimed
    on conflict (run_id, step_slug, task_index) do update
    set lease = excluded.lease, lease_expires_at = excluded.lease_expires_at
  )
  select step_slug, task_index, attempt, input from claimed
$$;

create function t.lease(run uuid, step text, index int default 0) returns bigint language sql as $$
  select lease from t.leases where (run_id, step_slug, task_index) = (run, step, index)
$$;

create function t.complete(run uuid, step text, output jsonb default null, index int default 0)
returns table (accepted boolean, task_status text, step_status text, run_status text) language sql as $$
  select accepted, task_status, step_status, run_status
  from pgflow.complete_step_task(run, step, output, index, t.lease(run, step, index))
$$;

create function t.fail(run uuid, step text, message text, index int default 0,
                       retryable boolean default true, retry_after int default null)
returns table (accepted boolean, task_status text, step_status text, run_status text) language sql as $$
  select accepted, task_status, step_status, run_status
  from pgflow.fail_step_task(run, step, message, index, t.lease(run, step, index), retryable, retry_after)
$$;

-- Everything stored about a run, as one value: equal before and after when nothing changed.
create function t.snapshot(run uuid) returns text language sql as $$
  select md5(concat(
    (select r::text from pgflow.runs r where run_id = run),
    (select string_agg(s::text, ';' order by step_slug) from pgflow.step_states s where run_id = run),
    (select string_agg(s::text, ';' order by step_slug, task_index, attempt) from pgflow.step_tasks s where run_id = run),
    (select string_agg(l::text, ';' order by step_slug, task_index) from pgflow.live_tasks l where run_id = run)))
$$;

-- The four calls on a task that none of them may touch.
create function t.refusals(run uuid, step text, index int default 0, lease bigint default null)
returns table (call text, accepted boolean, task_status text, step_status text, run_status text, changed boolean)
language plpgsql as $$
declare
  before text := t.snapshot(run);
  receipt record;
begin
  foreach call in array '{complete,fail,extend,release}'::text[] loop
    case call
    when 'complete' then select * into receipt from pgflow.complete_step_task(run, step, '"late"', index, lease);
    when 'fail' then select * into receipt from pgflow.fail_step_task(run, step, 'late', index, lease);
    when 'extend' then select * into receipt from pgflow.extend_step_task(run, step, index, lease);
    when 'release' then select * into receipt from pgflow.release_step_task(run, step, index, lease);
    end case;
    accepted := receipt.accepted;
    task_status := receipt.task_status;
    step_status := receipt.step_status;
    run_status := receipt.run_status;
    changed := t.snapshot(run) <> before;
    return next;
  end loop;
end $$;

-- A worker for a whole queue: a map task returns its item, a single step its own slug. Returns the number of tasks done.
create function t.work(queue text, batch int default 1000) returns bigint language plpgsql as $$
declare
  done bigint := 0;
  results jsonb := '[]';
begin
  loop
    select jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index, 'lease', lease,
                                        'output', coalesce(input -> 'item', to_jsonb(step_slug))))
    into results
    from pgflow.settle_and_claim(coalesce(results, '[]'), queue, batch);
    exit when results is null;
    done := done + jsonb_array_length(results);
  end loop;
  return done;
end $$;

-- Time travel: leases that have run out, delays that are over.
create procedure t.expire(run uuid, step text default null) language sql as $$
  update pgflow.live_tasks set lease_expires_at = clock_timestamp() - interval '1 second'
  where run_id = run and status = 'started' and lease_expires_at < 'infinity' and step_slug = coalesce(step, step_slug);
$$;

create procedure t.due(run uuid, step text default null) language sql as $$
  update pgflow.live_tasks set ready_at = clock_timestamp() - interval '1 second'
  where run_id = run and status = 'delayed' and step_slug = coalesce(step, step_slug);
$$;

-- As if the run had been and gone fifty years ago; its id says so too. Returns the new one.
create function t.age(run uuid) returns uuid language plpgsql as $$
declare
  aged uuid := overlay(run::text placing '0000' from 1);
begin
  update pgflow.runs set run_id = aged, created_at = created_at - interval '50 years',
    started_at = started_at - interval '50 years', finished_at = finished_at - interval '50 years' where run_id = run;
  update pgflow.step_states set run_id = aged where run_id = run;
  update pgflow.step_tasks set run_id = aged where run_id = run;
  update pgflow.live_tasks set run_id = aged where run_id = run;
  update pgflow.idempotency_keys set run_id = aged where run_id = run;
  update pgflow.run_deadlines set run_id = aged where run_id = run;
  return aged;
end $$;

-- The seconds between the end of the last ended attempt and the time the next one is ready.
create function t.delay(run uuid, step text, index int default 0) returns numeric language sql as $$
  select extract(epoch from ready_at - (select max(finished_at) from pgflow.step_tasks
                                        where (run_id, step_slug, task_index) = (run, step, index)))
  from pgflow.live_tasks where (run_id, step_slug, task_index) = (run, step, index)
$$;
