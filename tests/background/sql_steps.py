"""Steps of executor sql: what a handler does and what becomes of its task."""
import threading
import time

import endpoint
from harness import Lost, SqlError, eventually, step, test

LEDGER = "insert into app.ledger values (i->'run'->>'name');"


@test
def effects_and_completion_commit_together(db):
    # The ledger's row and the completed attempt have the same transaction.
    db.sql_flow("together", LEDGER + "return to_jsonb(pg_current_xact_id()::text);")
    run = db.run("together", {"name": "together"})
    xid = db.completes(run)
    assert db.one("select xmin from app.ledger where task = 'together'") == xid
    assert db.one(f"select xmin from pgflow.step_tasks where run_id = '{run}'") == xid


@test
def an_error_rolls_effects_back_and_says_all(db):
    db.sql_flow("breaks", LEDGER + "perform 1 / (i->'run'->>'by')::int; return '1';", max_attempts=1)
    message = db.fails(db.run("breaks", {"name": "breaks", "by": 0}))
    assert message.startswith("division by zero (SQLSTATE 22012)"), message
    assert "PL/pgSQL function app.breaks(jsonb) line" in message, message
    assert db.ledger("breaks") == []


@test
def a_sqlstate_of_the_users_own_detail_and_hint_are_kept(db):
    db.sql_flow("own_state", "raise exception 'no stock' using errcode = 'AB123', detail = 'of nails', hint = 'buy';", max_attempts=1)
    message = db.fails(db.run("own_state"))
    assert message.startswith("no stock (SQLSTATE AB123)\nDETAIL: of nails\nHINT: buy\nCONTEXT: PL/pgSQL"), message


@test
def a_failed_attempt_is_tried_again(db):
    # The count is a sequence's, which no rollback takes back.
    db.rows("create sequence app.tries; grant all on app.tries to alice")
    db.sql_flow("thrice", LEDGER + "if nextval('app.tries') < 3 then raise 'not yet'; end if; return '1';", base_delay=1)
    run = db.run("thrice", {"name": "thrice"})
    db.completes(run)
    assert db.attempts(run) == ["failed", "failed", "completed"]
    assert db.ledger("thrice") == [1]


@test
def a_slow_handler_is_cancelled_at_its_steps_timeout(db):
    db.sql_flow("slow", LEDGER + "perform pg_sleep(20); return '1';", timeout=1, max_attempts=1)
    begun = time.monotonic()
    message = db.fails(db.run("slow", {"name": "slow"}))
    assert 1 <= time.monotonic() - begun < 2.5
    assert "SQLSTATE 57014" in message, message
    assert db.ledger("slow") == []


@test
def a_slow_deferred_trigger_is_cancelled_too(db):
    db.rows("""
        create function app.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(20); return null; end $$;
        create table app.dawdling (task text); grant all on app.dawdling to alice;
        create constraint trigger dawdle after insert on app.dawdling deferrable initially deferred
          for each row execute function app.dawdle()""")
    db.sql_flow("dawdles", "insert into app.dawdling values ('x'); return '1';", timeout=1, max_attempts=1)
    begun = time.monotonic()
    message = db.fails(db.run("dawdles"))
    assert time.monotonic() - begun < 3
    assert "SQLSTATE 57014" in message, message


@test
def a_handler_that_traps_its_cancellation_is_ended(db):
    # Trapped once it may still come to an end; trapped for ever it is ended with its process.
    db.sql_flow("tidies_up", "begin perform pg_sleep(20); exception when query_canceled then return '\"late\"'; end; return '1';", timeout=1)
    assert db.completes(db.run("tidies_up")) == "late"
    db.sql_flow("stubborn", LEDGER + """loop
        begin perform pg_sleep(20); exception when query_canceled then null; end; end loop; return '1';""", timeout=1, max_attempts=2)
    before = db.workers("sql")
    begun = time.monotonic()
    run = db.run("stubborn", {"name": "stubborn"})
    assert db.ended(run, 20) == "failed"
    assert 2 * (1 + 3) <= time.monotonic() - begun < 15, time.monotonic() - begun
    assert db.attempts(run) == ["expired", "expired"]
    assert db.ledger("stubborn") == []
    eventually(lambda: len(db.workers("sql")) == 2 and set(db.workers("sql")) != set(before), "both workers are there", within=4)
    db.sql_flow("brief", "perform pg_sleep(0.6); return '1';", timeout=1, max_attempts=1)
    assert db.completes(db.run("brief")) == 1


@test
def the_commit_of_a_step_waits_for_its_standby(db):
    # The step's timeout is for the handler and its triggers: a commit that was cut short would count before it is safe.
    db.sql_flow("safe", LEDGER + "return '1';", timeout=1)
    start = db.cluster.log_size()
    db.rows("set synchronous_commit = local")
    try:
        db.cluster.configure(synchronous_standby_names="nobody")
        time.sleep(0.3)
        run = db.run("safe", {"name": "safe"})
        eventually(lambda: db.rows("select 1 from pg_stat_activity where query like 'step s of flow safe,%' and wait_event = 'SyncRep'"), "it waits")
        time.sleep(2)
        assert db.rows("select 1 from pg_stat_activity where query like 'step s of flow safe,%' and wait_event = 'SyncRep'")
        assert "canceling wait for synchronous replication" not in db.cluster.log(start)
        assert db.ledger("safe") == []
    finally:
        # What waits for a standby cannot wait for itself to be told that there is none.
        session = db.cluster.session()
        session.rows("set synchronous_commit = local")
        session.rows("alter system reset synchronous_standby_names")
        session.rows("select pg_reload_conf()")
        session.close()
        db.rows("reset synchronous_commit")
    assert db.completes(run) == 1
    assert db.ledger("safe") == [1]


@test
def a_batch_that_turns_slow_is_shared(db):
    # Quick ones first, so that many are claimed at once; then those that take long, which both workers do.
    db.handler("turns", "if (i->>'index')::int >= 200 then perform pg_sleep(0.2); end if; return i->'item';")
    db.flow("turns", step("m", "sql", "app.turns", step_type="map", timeout=5))
    begun = time.monotonic()
    run = db.run("turns", list(range(224)))
    assert db.completes(run, 15) == list(range(224))
    assert time.monotonic() - begun < 24 * 0.2 * 0.8, time.monotonic() - begun
    assert db.attempts(run) == ["completed"] * 224


@test
def a_table_may_change_under_a_handler(db):
    db.sql_flow("rebuilt", LEDGER + "perform pg_sleep(1); return '1';")
    runs = [db.run("rebuilt", {"name": f"rebuilt {n}"}) for n in range(2)]
    eventually(lambda: all(db.attempts(run) == ["started"] for run in runs), "both are at it")
    db.rows("""alter table pgflow.step_tasks add column extra int; alter table pgflow.live_tasks add column extra text default 'x';
               create index extra on pgflow.runs (run_id, status)""")
    runs.append(db.run("rebuilt", {"name": "rebuilt 2"}))
    for run in runs:
        db.completes(run)
        assert db.attempts(run) == ["completed"]
    db.rows("alter table pgflow.step_tasks drop column extra; alter table pgflow.live_tasks drop column extra; drop index pgflow.extra")
    runs.append(db.run("rebuilt", {"name": "rebuilt 3"}))
    db.completes(runs[-1])
    assert db.ledger("rebuilt %") == [1] * 4


@test
def a_timeout_does_not_reach_the_next_handler(db):
    db.sql_flow("brief", "perform pg_sleep(0.6); return '1';", timeout=1, max_attempts=1)
    runs = [db.run("brief") for _ in range(4)]
    assert [db.completes(run) for run in runs] == [1] * 4


@test
def an_error_caught_by_the_handler_is_no_failure(db):
    db.sql_flow("catches", "begin perform 1 / 0; exception when division_by_zero then return '\"caught\"'; end;")
    assert db.completes(db.run("catches")) == "caught"


@test
def null_is_json_null(db):
    db.sql_flow("nothing", "return null;")
    run = db.run("nothing")
    assert db.completes(run) is None
    assert db.one(f"select output from pgflow.step_tasks where run_id = '{run}'") == "null"


@test
def an_output_that_feeds_a_map_and_is_no_array_fails_the_run(db):
    db.handler("no_array", LEDGER + "return '5';")
    db.handler("element", "return i;")
    db.flow("fed", step("s", "sql", "app.no_array"), step("m", "sql", "app.element", step_type="map", deps_slugs=["s"]))
    run = db.run("fed", {"name": "fed"})
    assert "array" in db.fails(run)
    assert db.attempts(run) == ["failed"]


@test
def a_handler_that_cancels_its_own_run_is_rolled_back(db):
    # The cancellation is one of its effects, and the completion is refused with it.
    db.handler("calls_off", LEDGER + "perform pgflow.cancel_run((select run_id from pgflow.runs where flow_slug = 'calls_off')); return '1';",
               owner="postgres", options="security definer")
    db.flow("calls_off", step("s", "sql", "app.calls_off", max_attempts=1))
    message = db.fails(db.run("calls_off", {"name": "calls_off"}))
    assert "ended the task before it was completed" in message, message
    assert db.ledger("calls_off") == []


@test
def a_handler_that_completes_its_own_task_is_rolled_back(db):
    db.handler("eager", LEDGER + """perform pgflow.complete_step_task(
        (select run_id from pgflow.runs where flow_slug = 'eager'), 's', '"early"'); return '"late"';""", owner="postgres", options="security definer")
    db.flow("eager", step("s", "sql", "app.eager", max_attempts=1))
    message = db.fails(db.run("eager", {"name": "eager"}))
    assert "ended the task before it was completed" in message, message
    assert db.ledger("eager") == []


@test
def a_handler_may_start_runs(db):
    db.sql_flow("started", "return '\"child\"';")
    db.sql_flow("starts", "return to_jsonb(pgflow.run_flow('started'));")
    child = db.completes(db.run("starts"))
    assert db.completes(child) == "child"


@test
def a_function_that_was_dropped_fails_its_task(db):
    db.sql_flow("gone", "return '1';", max_attempts=1)
    db.rows("drop function app.gone")
    message = db.fails(db.run("gone"))
    assert 'there is no function "app.gone"' in message and "22023" in message, message


@test
def a_right_that_was_revoked_fails_the_task(db):
    db.handler("revoked", "return '1';", owner="bob")
    db.flow("revoked", step("s", "sql", "app.revoked", max_attempts=1))
    assert db.completes(db.run("revoked")) == 1
    db.as_role("bob", "revoke execute on function app.revoked from public")
    message = db.fails(db.run("revoked"))
    assert "42501" in message and '"alice"' in message, message


@test
def an_owner_that_was_dropped_fails_the_task(db):
    db.rows("create role carol; grant usage on schema app to carol; select pgflow.grant_access('carol', 'author')")
    db.handler("orphan", "return '1';")
    db.flow("orphan", step("s", "sql", "app.orphan", max_attempts=1), owner="carol")
    run = db.run("orphan", owner="carol")
    db.completes(run)
    db.rows("drop owned by carol; drop role carol")
    message = db.fails(db.one("select pgflow.run_flow('orphan')"))
    assert "42501" in message and '"carol"' in message, message


@test
def two_workers_do_each_element_of_a_map_once(db):
    db.handler("elements", "insert into app.ledger values ('element ' || (i->>'index')); perform pg_sleep(0.002); return i->'item';")
    db.flow("elements", step("m", "sql", "app.elements", step_type="map"))
    run = db.run("elements", list(range(500)))
    assert db.completes(run, 30) == list(range(500))
    assert db.ledger("element %") == [1] * 500
    workers = db.rows(f"select distinct worker_id from pgflow.step_tasks where run_id = '{run}'")
    assert len(workers) == 2, workers


@test
def tasks_that_share_a_transaction_are_done_once_when_one_of_them_fails(db):
    db.handler("mixed", """insert into app.ledger values ('mixed ' || (i->>'index'));
        if (i->>'index')::int = 150 then raise 'one of many'; end if; return to_jsonb(pg_current_xact_id()::text);""")
    db.flow("mixed", step("m", "sql", "app.mixed", step_type="map", max_attempts=2, base_delay=1, when_exhausted="skip"))
    run = db.run("mixed", list(range(200)))
    db.ended(run, 30)
    assert db.one("select count(*) from app.ledger where task = 'mixed 150'") == "0"
    assert db.ledger("mixed %") == [1] * 199
    assert db.one(f"select count(*) from pgflow.step_tasks where run_id = '{run}' and task_index = 150 and status = 'failed'") == "2"
    # Else nothing was tried here.
    shared = db.one(f"select count(*) - count(distinct output) from pgflow.step_tasks where run_id = '{run}' and status = 'completed'")
    assert int(shared) > 50, shared


@test
def a_handler_that_sleeps_delays_no_other_executor(db):
    db.sql_flow("asleep", "perform pg_sleep(3); return '1';")
    db.flow("awake", step("t", "timer", start_delay=1), step("h", "http", endpoint.server().url("/echo")))
    runs = [db.run("asleep") for _ in range(2)]
    eventually(lambda: all(db.attempts(run) == ["started"] for run in runs), "both sleep")
    begun = time.monotonic()
    db.completes(db.run("awake"))
    assert time.monotonic() - begun < 1.6, time.monotonic() - begun
    assert [db.status(run) for run in runs] == ["started"] * 2
    for run in runs:
        db.completes(run)


@test
def a_queue_with_a_long_handler_does_not_hold_up_another(db):
    # One of the two workers is busy; the other has both the rest of that queue and the other one.
    db.sql_flow("long", "perform pg_sleep(2); return '1';")
    db.sql_flow("short", "return '1';")
    long = db.run("long")
    eventually(lambda: db.attempts(long) == ["started"], "one works")
    begun = time.monotonic()
    db.completes(db.run("short"))
    assert time.monotonic() - begun < 0.5
    db.completes(long)


@test
def a_worker_that_is_told_to_end_does_so_in_mid_handler(db):
    db.sql_flow("told", LEDGER + "perform pg_sleep(case (select count(*) from pgflow.step_tasks where flow_slug = 'told') when 1 then 30 else 0 end); return '1';",
                timeout=60, owner="postgres")
    run = db.run("told", {"name": "told"}, owner="postgres")
    pid = eventually(lambda: db.one("select pid from pg_stat_activity where query like 'step s of flow told,%'"), "it is in the handler")
    begun = time.monotonic()
    db.rows(f"select pg_terminate_backend({pid})")
    eventually(lambda: not db.rows(f"select 1 from pg_stat_activity where pid = {pid}"), "it ends", within=1)
    assert time.monotonic() - begun < 1
    db.completes(run)
    assert db.attempts(run) == ["expired", "completed"]
    assert db.ledger("told") == [1]


@test
def a_handler_that_breaks_its_worker_burns_an_attempt(db):
    # A superuser's handler can end its own process.
    db.sql_flow("breaker", "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5); return '1';", max_attempts=2, owner="postgres")
    run = db.run("breaker", owner="postgres")
    db.ended(run)
    assert db.attempts(run) == ["expired", "expired"]
    eventually(lambda: len(db.workers("sql")) == 2, "both are back", within=3)


@test
def calls_of_many_sessions_meet_workers_without_deadlock(db):
    db.handler("meet", "return i->'item';")
    db.flow("meet", step("m", "sql", "app.meet", step_type="map"), step("n", "sql", "app.meet", step_type="map", deps_slugs=["m"]))
    runs, mistakes = [], []

    def start():
        session = db.cluster.session(db.name)
        try:
            for _ in range(5):
                runs.append(session.one("select pgflow.run_flow('meet', '[1, 2, 3, 4]')"))
                session.one(f"select pgflow.cancel_run('{runs[-1]}')")
                runs.append(session.one("select pgflow.run_flow('meet', '[1, 2, 3, 4]')"))
        except (SqlError, Lost) as error:
            mistakes.append(error)
        session.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mistakes, mistakes
    ends = [db.ended(run, 20) for run in runs]
    assert ends.count("completed") >= 20 and "failed" not in ends, ends
    db.is_sound()
