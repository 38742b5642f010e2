\pset null <null>
-- Each attempt is a row of its own; the delay doubles, ±10 %.
call t.flow('retries', '[{"step_slug": "a"}]', '{"max_attempts": 4, "base_delay": 10}');
select pgflow.run_flow('retries') as run \gset
select attempt from t.claim('retries');
select * from t.fail(:'run', 'a', 'first');
select t.delay(:'run', 'a') between 9 and 11 as after_10;
select * from t.tasks(:'run');
select attempt from t.claim('retries');
call t.due(:'run');
select attempt from t.claim('retries');
select * from t.fail(:'run', 'a', 'second');
select t.delay(:'run', 'a') between 18 and 22 as after_20;
call t.due(:'run');
select attempt from t.claim('retries');
-- An expired attempt counts, and is taken over at once.
call t.expire(:'run');
select attempt from t.claim('retries');
select * from t.fail(:'run', 'a', 'fourth');
select * from t.run(:'run');
select * from t.steps(:'run');
select * from t.tasks(:'run');

-- The jitter differs between tasks.
call t.flow('retries_jitter', '[{"step_slug": "m", "step_type": "map"}]', '{"base_delay": 1000}');
select pgflow.run_flow('retries_jitter', (select jsonb_agg(n) from generate_series(1, 100) n)) as run \gset
select count(*) from t.claim('retries_jitter', 100);
select count(*) from generate_series(0, 99) n, t.fail(:'run', 'm', 'no', n) where task_status = 'queued';
select min(delay) >= 900 and max(delay) <= 1100 as within, min(delay) < 960 as early, max(delay) > 1040 as late
from (select t.delay(:'run', 'm', n) as delay from generate_series(0, 99) n) d;
select (pgflow.cancel_run(:'run')).status;

-- Never more than max_delay, and no overflow at any attempt. The step's own options win over the flow's.
call t.flow('retries_capped', '[{"step_slug": "a", "max_attempts": 1000, "base_delay": 1000000000}]', '{"max_attempts": 1, "max_delay": 30}');
select pgflow.run_flow('retries_capped') as run \gset
do $$
declare
  run uuid := (select run_id from pgflow.runs where flow_slug = 'retries_capped');
begin
  for attempt in 1..70 loop
    perform t.claim('retries_capped');
    perform t.fail(run, 'a', 'no');
    if t.delay(run, 'a') not between 27 and 33 then
      raise notice 'attempt % after %', attempt, t.delay(run, 'a');
    end if;
    call t.due(run);
  end loop;
end $$;
select status, count(*), max(attempt) from t.tasks(:'run') group by 1 order by 1;

-- retry_after says when, instead; 0 is now.
select attempt from t.claim('retries_capped');
select * from t.fail(:'run', 'a', 'no', retry_after => 500);
select t.delay(:'run', 'a') = 500 as after_500;
call t.due(:'run');
select attempt from t.claim('retries_capped');
select * from t.fail(:'run', 'a', 'no', retry_after => 0);
select attempt from t.claim('retries_capped');
call t.fails($$select pgflow.fail_step_task($1, 'a', 'no', retry_after => -1)$$, :'run');

-- Not retryable: when_exhausted at once, whatever is left.
select * from t.fail(:'run', 'a', 'for good', retryable => false);
select * from t.run(:'run');
select status, count(*) from t.tasks(:'run') group by 1 order by 1;

-- No delay at all.
call t.flow('retries_at_once', '[{"step_slug": "a"}]', '{"base_delay": 0}');
select pgflow.run_flow('retries_at_once') as run \gset
begin;
select attempt from t.claim('retries_at_once');
select * from t.fail(:'run', 'a', 'no');
select attempt from t.claim('retries_at_once');
commit;
call t.fails($$select pgflow.fail_step_task($1, 'a', null)$$, :'run');
select * from t.complete(:'run', 'a', '1');
select * from pgflow.check_integrity();
