"""Workers come and go with databases, the extension and the settings, and are in nobody's way."""
import time

from harness import Database, eventually, test

COUNT = """select count(*) from pg_stat_activity where backend_type = 'pgflow worker' and datname = '{}'"""


def count(db, name):
    return int(db.one(COUNT.format(name)))


def does_tasks(db):
    """Whether SQL steps are done there."""
    db.sql_flow("probe", "return to_jsonb(current_database());")
    assert db.completes(db.run("probe")) == db.name


@test
def workers_come_within_3_seconds_of_the_extension(db):
    begun = time.monotonic()
    second = Database.create(db.cluster, "second")
    eventually(lambda: len(second.workers()) == 3, "one main and two sql", within=3)
    assert time.monotonic() - begun < 4
    does_tasks(second)
    second.close()
    # The first one's are still there, and do its tasks.
    eventually(lambda: len(db.workers()) == 3, "one main and two sql")
    does_tasks(db)


@test
def a_database_without_the_extension_has_none(db):
    db.rows("create database plain")
    time.sleep(2)
    eventually(lambda: count(db, "plain") == 0, "none is there", within=1)
    session = db.cluster.session("plain")
    session.rows("begin; create extension pgflow")
    time.sleep(1.2)
    assert count(db, "plain") == 0
    session.rows("commit")
    eventually(lambda: count(db, "plain") == 3, "they come when it commits", within=3)
    session.close()
    db.rows("drop database plain")


@test
def pg_stat_activity_says_who_does_what(db):
    names = [name for name, in db.rows("select application_name from pg_stat_activity where backend_type = 'pgflow worker' order by 1")]
    assert names.count("pgflow launcher") == 1, names
    assert (len(db.workers("main")), len(db.workers("sql"))) == (1, 2), names
    db.sql_flow("seen", "perform pg_sleep(1); return '1';")
    run = db.run("seen")
    query = eventually(lambda: db.one("select query from pg_stat_activity where backend_type = 'pgflow worker' and state = 'active' and query like 'step %'"),
                       "one is at work")
    assert query == f"step s of flow seen, run {run}, task 0, attempt 1", query
    db.completes(run)
    eventually(lambda: not db.rows("select 1 from pg_stat_activity where backend_type = 'pgflow worker' and datname is not null and state <> 'idle'"),
               "they are idle", within=2)
    assert not db.rows("select 1 from pg_stat_activity where backend_type = 'pgflow worker' and (xact_start is not null or backend_xmin is not null)")


@test
def as_many_workers_as_the_settings_say(db):
    try:
        db.cluster.configure(pgflow_workers_per_database=4)
        eventually(lambda: len(db.workers("sql")) == 4, "four", within=2)
        db.cluster.configure(pgflow_workers_per_database=0)
        eventually(lambda: len(db.workers("sql")) == 0, "none", within=2)
        assert len(db.workers("main")) == 1
        db.cluster.configure(pgflow_workers_per_database=2)
        eventually(lambda: len(db.workers("sql")) == 2, "two", within=2)
        does_tasks(db)
    finally:
        db.cluster.configure(pgflow_workers_per_database=None)


@test
def only_in_the_databases_that_the_settings_name(db):
    try:
        db.cluster.configure(pgflow_worker_databases="second, elsewhere")
        eventually(lambda: len(db.workers()) == 0, "none is left in the first", within=3)
        assert count(db, "second") == 3
        db.cluster.configure(pgflow_worker_databases="")
        eventually(lambda: count(db, "second") == 0, "none is left in the second", within=3)
    finally:
        db.cluster.configure(pgflow_worker_databases=None)
    eventually(lambda: len(db.workers()) == 3 and count(db, "second") == 3, "they are back", within=6)


@test
def workers_end_and_come_back_with_their_launcher(db):
    pid = db.one("select pid from pg_stat_activity where application_name = 'pgflow launcher'")
    before = db.workers()
    db.rows(f"select pg_terminate_backend({pid})")
    eventually(lambda: db.has_others(before), "they are others", within=6)
    try:
        # The new launcher has them in hand.
        db.cluster.configure(pgflow_worker_databases="second")
        eventually(lambda: len(db.workers()) == 0, "none is left", within=3)
    finally:
        db.cluster.configure(pgflow_worker_databases=None)
    eventually(lambda: len(db.workers()) == 3, "they are back", within=6)


@test
def a_main_that_was_ended_is_begun_again(db):
    main, = db.workers("main")
    db.rows(f"select pg_terminate_backend({main})")
    eventually(lambda: db.has_others([main], "main"), "another main", within=8)
    eventually(lambda: len(db.workers("sql")) == 2, "and two workers", within=2)
    does_tasks(db)


@test
def a_database_with_workers_can_be_renamed_and_dropped(db):
    second = Database(db.cluster, "second")
    eventually(lambda: len(second.workers()) == 3, "they are there", within=8)
    second.close()
    begun = time.monotonic()
    db.rows("alter database second rename to third")
    assert time.monotonic() - begun < 2
    eventually(lambda: count(db, "third") == 3, "they are back under the new name", within=8)
    third = Database(db.cluster, "third")
    does_tasks(third)
    third.sql_flow("busy", "perform pg_sleep(20); return '1';")
    run = third.run("busy")
    eventually(lambda: third.attempts(run) == ["started"], "a handler is under way")
    third.close()
    begun = time.monotonic()
    db.rows("drop database third")
    assert time.monotonic() - begun < 2


@test
def a_refused_drop_leaves_the_workers(db):
    db.session.refuses("drop database work", "55006")
    # Who does not own it is refused before anything is ended.
    main = db.workers("main")
    other = db.cluster.session()
    other.rows("set role alice")
    other.refuses("drop database work", "42501")
    other.close()
    assert db.workers("main") == main
    does_tasks(db)


@test
def a_database_with_workers_can_be_moved_and_copied(db):
    # Both ask for a database that nobody is connected to.
    db.rows("create database original")
    session = db.cluster.session("original")
    session.rows("create extension pgflow")
    session.close()
    eventually(lambda: count(db, "original") == 3, "they are there", within=5)
    db.rows("create database copied template original")
    db.rows("alter database original set tablespace pg_default")
    db.rows("drop database copied; ")
    db.rows("drop database original")


@test
def the_extension_can_be_dropped_and_made_again(db):
    other = Database.create(db.cluster, "other")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    begun = time.monotonic()
    other.rows("drop extension pgflow")
    assert time.monotonic() - begun < 1
    other.rows("create extension pgflow; select pgflow.grant_access('alice', 'author')")
    does_tasks(other)
    other.rows("drop extension pgflow")
    eventually(lambda: count(db, "other") == 0, "they are gone", within=12)
    log = db.cluster.log()
    assert "panicked" not in log and "TRAP" not in log
    other.close()
    db.rows("drop database other")
