"""On a server that does not preload the library, start_background() begins the workers of a database."""
import time

import harness
from harness import Cluster, Database, eventually, test

_own = {}


def own():
    """A server that does not preload it, and a database there."""
    if not _own:
        cluster = Cluster(harness.PG_CONFIG, "max_worker_processes=12")
        _own["db"] = Database.create(cluster, "plain")
    return _own["db"]


@test
def nothing_runs_until_it_is_begun(_):
    db = own()
    db.sql_flow("waits", "return '1';")
    run = db.run("waits")
    time.sleep(1)
    assert db.attempts(run) == ["queued"] and db.workers() == []
    db.rows("select pgflow.start_background()")
    assert db.completes(run) == 1
    assert (len(db.workers("main")), len(db.workers("sql"))) == (1, 2)


@test
def begun_twice_it_runs_once(_):
    db = own()
    main, = db.workers("main")
    db.rows("select pgflow.start_background()")
    db.rows("select pgflow.start_background()")
    time.sleep(1)
    assert db.workers("main") == [main] and len(db.workers("sql")) == 2, db.workers()


@test
def upkeep_can_be_called_instead(_):
    session = own().cluster.session()
    session.rows("create extension pgflow; select pgflow.define_flow('{\"flow_slug\": \"t\", \"steps\": [{\"step_slug\": \"t\", \"executor\": \"timer\", \"start_delay\": 1}]}')")
    run = session.one("select pgflow.run_flow('t')")
    time.sleep(1.1)
    assert session.one(f"select status from pgflow.runs where run_id = '{run}'") == "started"
    assert session.rows("select pgflow.run_upkeep()")
    assert session.one(f"select status from pgflow.runs where run_id = '{run}'") == "completed"
    session.rows("drop extension pgflow cascade")
    session.close()


@test
def it_is_back_after_a_process_was_killed(_):
    db = own()
    db.cluster.kill(db.workers("sql")[0])
    time.sleep(0.5)
    db.reconnect()
    eventually(lambda: len(db.workers()) == 3, "they are back", within=10)
    assert len(db.workers("main")) == 1
    db.sql_flow("back", "return '1';")
    assert db.completes(db.run("back")) == 1


@test
def a_database_is_dropped_with_force_and_leaves_nothing_behind(_):
    db = own()
    cluster = db.cluster
    doomed = Database.create(cluster, "doomed")
    doomed.rows("select pgflow.start_background()")
    eventually(lambda: len(doomed.workers()) == 3, "they are there", within=5)
    doomed.close()
    db.session.refuses("drop database doomed", "55006")
    start = cluster.log_size()
    db.rows("drop database doomed with (force)")
    time.sleep(6)
    tries = cluster.log(start).count("does not exist")
    assert tries == 0, f"the postmaster began it {tries} times more"
    assert len(db.workers()) == 3


@test
def it_ends_with_the_server(_):
    db = own()
    assert db.cluster.stop() < 2
    db.cluster.start()
    db.reconnect()
    time.sleep(1)
    assert db.workers() == []
    db.close()


@test
def it_says_when_no_process_is_free(_):
    db = own()
    db.reconnect()
    db.rows("alter system set max_worker_processes = 1")
    db.cluster.pg_ctl("restart")
    db.reconnect()
    # The launcher of logical replication has the only one.
    message = db.session.refuses("select pgflow.start_background(); select pgflow.start_background()", "PT409")
    assert message == "no background worker is free", message
    db.close()
