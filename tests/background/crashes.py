"""Processes and the whole server are ended in the middle of a handler and of a request."""
import time

import endpoint
from harness import Database, eventually, step, test

SLEEPS = "insert into app.ledger values (i->'run'->>'name'); perform pg_sleep((i->'run'->>'for')::float); return '1';"


def under_way(db, *runs):
    eventually(lambda: all(db.attempts(run) == ["started"] for run in runs), "they are under way")
    time.sleep(0.1)


def begin_anew(db):
    db.reconnect()
    eventually(lambda: len(db.workers()) == 3, "workers are back", within=10)


@test
def a_killed_worker_leaves_no_effect_and_its_task_is_done_again(db):
    db.sql_flow("killed", SLEEPS, timeout=60)
    runs = [db.run("killed", {"name": f"killed {n}", "for": 1}) for n in range(2)]
    under_way(db, *runs)
    time.sleep(0.4)
    victim = db.one(f"select worker_id from pgflow.step_tasks where run_id = '{runs[0]}'")
    db.cluster.kill(victim.split("/")[1])
    time.sleep(0.3)
    begin_anew(db)
    for run in runs:
        db.completes(run, 15)
    assert db.ledger("killed %") == [1, 1]
    found = [db.attempts(run) for run in runs]
    assert found == [["expired", "completed"]] * 2, found
    db.is_sound()


@test
def a_process_that_got_the_number_of_a_dead_one_does_not_have_its_tasks(db):
    # As after a restart in a container, where numbers begin anew.
    db.sql_flow("numbered", "return '1';", timeout=3000)
    db.rows("select pgflow.pause_queue('numbered')")
    run = db.run("numbered")
    main, = db.workers("main")
    other = next(pid for pid in db.workers() if pid != main)
    db.rows(f"""
        update pgflow.live_tasks set status = 'started', lease = 1, lease_expires_at = clock_timestamp() + interval '1 hour' where run_id = '{run}';
        update pgflow.step_tasks set status = 'started', started_at = clock_timestamp() - interval '1 hour', worker_id = 'pgflow/{other}'
        where run_id = '{run}'""")
    db.rows("select pgflow.resume_queue('numbered')")
    db.rows(f"select pg_terminate_backend({main})")
    db.completes(run, 15)
    assert db.attempts(run) == ["expired", "completed"], db.attempts(run)


@test
def a_handler_that_crashes_the_server_burns_its_attempts(db):
    # At once: what is not on the disk by then has not happened.
    db.sql_flow("crasher", "execute format('copy (select 1) to program %L', 'kill -9 ' || pg_backend_pid()); perform pg_sleep(1); return '1';",
                max_attempts=2, base_delay=1, owner="postgres")
    start = db.cluster.log_size()
    run = db.run("crasher", owner="postgres")
    for crash in (1, 2):
        eventually(lambda: db.cluster.log(start).count("was terminated by signal 9") >= crash, "it crashes", within=10)
        time.sleep(0.3)
        db.reconnect()
    db.ended(run, 10)
    assert db.attempts(run) == ["expired", "expired"], db.attempts(run)
    assert db.cluster.log(start).count("was terminated by signal 9") == 2
    begin_anew(db)


@test
def a_server_stopped_at_once_leaves_no_effect_and_tasks_are_done_again(db):
    db.sql_flow("stopped", SLEEPS, timeout=60)
    db.handler("stopped_quick", "insert into app.ledger values ('quick ' || (i->>'index')); return i->'item';")
    db.flow("stopped_quick", step("m", "sql", "app.stopped_quick", step_type="map", max_attempts=10))
    slow = db.run("stopped", {"name": "stopped", "for": 1.5})
    under_way(db, slow)
    quick = db.run("stopped_quick", list(range(3000)))
    eventually(lambda: int(db.one("select count(*) from app.ledger where task like 'quick %'")) > 50, "the others are half way")
    db.cluster.stop("immediate")
    db.cluster.start()
    begin_anew(db)
    db.completes(slow, 15)
    assert db.completes(quick, 40) == list(range(3000))
    assert db.ledger("stopped") == [1] and db.ledger("quick %") == [1] * 3000
    db.is_sound()


@test
def a_killed_main_has_its_requests_made_again(db):
    server = endpoint.server()
    db.flow("hung", step("m", "http", server.url("/hang"), step_type="map", timeout=60))
    run = db.run("hung", list(range(20)))
    eventually(lambda: len(server.of(run)) == 20, "they are under way")
    db.cluster.kill(db.workers("main")[0])
    time.sleep(0.3)
    begin_anew(db)
    assert db.completes(run, 15) == [1] * 20
    assert len(server.of(run)) == 40
    assert set(db.attempts(run)) == {"expired", "completed"}
    db.is_sound()


@test
def a_fast_stop_waits_for_no_handler_and_no_request(db):
    server = endpoint.server()
    db.sql_flow("stops", SLEEPS, timeout=60)
    db.flow("stops_http", step("m", "http", server.url("/hang"), step_type="map", timeout=60))
    runs = [db.run("stops", {"name": f"stops {n}", "for": 2}) for n in range(2)]
    under_way(db, *runs)
    hanging = db.run("stops_http", list(range(50)))
    eventually(lambda: len(server.of(hanging)) == 50, "they are under way")
    start = db.cluster.log_size()
    db.close()
    took = db.cluster.stop("fast")
    log = db.cluster.log(start)
    db.cluster.start()
    begin_anew(db)
    assert took < 1, took
    for word in ("terminated by signal", "PANIC", "TRAP", "panicked", "SIGKILL", "leak"):
        assert word not in log, log
    for run in [*runs, hanging]:
        db.completes(run, 20)
    assert db.ledger("stops %") == [1, 1]
    db.is_sound()


@test
def a_fast_stop_ends_a_busy_server(db):
    db.handler("floods", "return i->'item';")
    db.flow("floods", step("m", "sql", "app.floods", step_type="map"))
    run = db.run("floods", list(range(5000)))
    time.sleep(0.3)
    db.close()
    took = db.cluster.stop("fast")
    db.cluster.start()
    begin_anew(db)
    assert took < 1.5, took
    assert db.completes(run, 60) == list(range(5000))


@test
def two_databases_come_back_together(db):
    second = Database.create(db.cluster, "beside")
    eventually(lambda: len(second.workers()) == 3, "they are there", within=5)
    db.cluster.kill(second.workers("sql")[0])
    time.sleep(0.3)
    begin_anew(db)
    second.reconnect()
    eventually(lambda: len(second.workers()) == 3, "they are back there, too", within=10)
    for one in (db, second):
        one.sql_flow("again", "return to_jsonb(current_database());")
        assert one.completes(one.run("again")) == one.name
    second.close()
    db.rows("drop database beside")


@test
def no_process_lost_track_of_its_state(db):
    """Reads the log of all the tests before it."""
    log = db.cluster.log()
    for line in log.splitlines():
        told = ("SPI stack", "still active", "leak", "panicked", "TRAP", "PANIC", "while in ")
        assert not any(word in line for word in told), line
        assert "terminated by signal" not in line or "signal 9" in line, line
