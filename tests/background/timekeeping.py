"""What falls due is done on time, by the clock and without anyone asking."""
import statistics
import time

import endpoint
from harness import eventually, step, test

#: What an idle machine keeps is 0.1 s; tests share theirs.
LATEST = 0.25


def delays(db, runs, due):
    """How many seconds after it was due each run ended; `due` is SQL for the time, r being the run and t an attempt."""
    for run in runs:
        db.completes(run)
    ids = ", ".join(f"'{run}'" for run in runs)
    return sorted(float(delay) for delay, in db.rows(f"""
        select extract(epoch from min(t.finished_at) - {due}) from pgflow.runs r join pgflow.step_tasks t using (run_id)
        where run_id in ({ids}) and t.step_slug = 'last' group by r.run_id, r.created_at, r.start_at"""))


def are_on_time(found):
    assert found[0] >= 0, f"too soon: {found}"
    assert statistics.median(found) < LATEST and found[-1] < 2 * LATEST, found


def staggered(start):
    """Ten that fall due one after the other, the first when the last has been started: so no commit wakes anybody by chance."""
    runs = []
    for _ in range(10):
        runs.append(start())
        time.sleep(0.07)
    return runs


@test
def a_timer_is_over_on_time(db):
    db.flow("timers", step("last", "timer", start_delay=1))
    are_on_time(delays(db, staggered(lambda: db.run("timers")), "r.created_at - interval '1 s'"))


@test
def a_timer_at_a_time_of_its_input_is_over_on_time(db):
    db.flow("aimed", step("last", "timer", "/run/at"))
    runs = [db.one("select pgflow.run_flow('aimed', jsonb_build_object('at', clock_timestamp() + interval '0.7 s'))") for _ in range(3)]
    are_on_time(delays(db, runs, "(r.payload->>'at')::timestamptz"))


@test
def a_delayed_step_starts_on_time(db):
    db.handler("delayed", "return to_jsonb(clock_timestamp());")
    db.flow("delayed", step("last", "sql", "app.delayed", start_delay=1))
    are_on_time(delays(db, staggered(lambda: db.run("delayed")), "r.created_at - interval '1 s'"))


@test
def a_delayed_run_starts_on_time(db):
    db.flow("starts_later", step("last", "sql", "app.delayed"))
    runs = staggered(lambda: db.one("select pgflow.run_flow('starts_later', start_at => clock_timestamp() + interval '1 s')"))
    are_on_time(delays(db, runs, "r.start_at"))


@test
def a_delayed_run_starts_on_time_beside_many_tasks(db):
    db.handler("crowd", "insert into app.ledger values ('crowd'); return '1';")
    db.flow("crowd", step("m", "sql", "app.crowd", step_type="map"))
    crowd = db.one("select pgflow.run_flow('crowd', (select jsonb_agg(n) from generate_series(1, 400000) n))")
    eventually(lambda: int(db.one("select count(*) from app.ledger where task = 'crowd'")) > 500, "they are at it", within=20)
    runs = staggered(lambda: db.one("select pgflow.run_flow('starts_later', start_at => clock_timestamp() + interval '1 s')"))
    found = delays(db, runs, "r.start_at")
    assert db.status(crowd) == "started"
    db.rows(f"select pgflow.cancel_run('{crowd}')")
    are_on_time(found)


@test
def a_retry_is_made_on_time(db):
    # The delay has 10 % of jitter: what counts is the time that stands in the queue.
    db.rows("create sequence app.retries; grant all on app.retries to alice")
    db.sql_flow("retried", "if nextval('app.retries') % 2 = 1 then raise 'again'; end if; return '1';", base_delay=1)
    found = []
    for _ in range(3):
        run = db.run("retried")
        due = eventually(lambda: db.one(f"select ready_at from pgflow.live_tasks where run_id = '{run}' and attempt = 2"), "it waits")
        db.completes(run)
        found.append(float(db.one(f"""select extract(epoch from started_at - '{due}') from pgflow.step_tasks
                                      where run_id = '{run}' and attempt = 2""")))
    are_on_time(sorted(found))


@test
def a_wake_up_is_not_awaited_by_polling(db):
    # Idle for two seconds: no transactions but those of a look every five seconds.
    def transactions():
        db.one("select pg_stat_force_next_flush()")
        return int(db.one("select xact_commit from pg_stat_database where datname = current_database()"))

    transactions()
    time.sleep(1.2)
    before = transactions()
    time.sleep(2)
    found = transactions() - before
    assert found < 40, found


@test
def a_wake_up_that_is_lost_is_made_up_for(db):
    # Whoever commits a prepared transaction wakes nobody.
    db.handler("unheard", "return '1';")
    db.flow("unheard", step("s", "sql", "app.unheard"), step("h", "http", endpoint.server().url("/echo")), step("t", "timer", start_delay=1))
    for _ in range(2):
        session = db.cluster.session(db.name)
        run = session.one("begin; select pgflow.run_flow('unheard'); prepare transaction 'unheard'")
        session.close()
        time.sleep(0.2)
        db.rows("commit prepared 'unheard'")
        db.completes(run, 5 + 1.5)


@test
def a_workers_expired_lease_ends_without_a_claim(db):
    db.flow("leased", step("s", "worker", timeout=60))
    run = db.run("leased")
    assert db.rows("select 1 from pgflow.claim_step_tasks('leased', lease_seconds => 1)")
    eventually(lambda: db.attempts(run)[0] == "expired", "the lease is ended", within=1 + 5 + 0.5)
    db.rows(f"select pgflow.cancel_run('{run}')")


@test
def a_run_that_takes_too_long_fails_on_time(db):
    db.flow("too_long", step("s", "worker"), run_timeout=1)
    run = db.run("too_long")
    assert db.ended(run, 3) == "failed"
    late = float(db.one(f"select extract(epoch from finished_at - created_at) - 1 from pgflow.runs where run_id = '{run}'"))
    assert 0 <= late < 2 * LATEST, late


@test
def runs_are_kept_as_long_as_their_flow_says(db):
    db.sql_flow("kept", "return '1';")
    old = [db.run("kept") for _ in range(3)]
    for run in old:
        db.completes(run)
    db.as_role("alice", "select pgflow.set_retention('kept', '1 second')")
    time.sleep(1)
    # Its next look is within a minute; a new setting has it look now.
    db.as_role("alice", "select pgflow.set_retention('kept', '0.9 second')")
    eventually(lambda: not any(db.status(run) for run in old), "they are gone", within=3)
    db.as_role("alice", "select pgflow.set_retention('kept', null)")


@test
def a_schedule_ticks_once_a_second_over_a_restart(db):
    db.sql_flow("ticks", "return '1';")
    db.as_role("alice", "select pgflow.schedule_flow('every second', 'ticks', '* * * * * *', catch_up => 'all')")
    ticks = "select count(*) from pgflow.runs where flow_slug = 'ticks'"
    eventually(lambda: int(db.one(ticks)) >= 2, "it ticks", within=4)
    db.cluster.pg_ctl("restart", "-m", "fast")
    db.reconnect()
    before = int(db.one(ticks))
    eventually(lambda: int(db.one(ticks)) >= before + 3, "it goes on", within=8)
    db.as_role("alice", "select pgflow.unschedule_flow('every second')")
    seconds = [int(second) for second, in db.rows("""
        select extract(epoch from split_part(idempotency_key, ' ', 4)::timestamptz)::bigint from pgflow.runs where flow_slug = 'ticks' order by 1""")]
    assert seconds == list(range(seconds[0], seconds[-1] + 1)), seconds
    late = [float(late) for late, in db.rows("""
        select extract(epoch from created_at - split_part(idempotency_key, ' ', 4)::timestamptz) from pgflow.runs where flow_slug = 'ticks'""")]
    assert statistics.median(late) < LATEST and min(late) >= 0, late
