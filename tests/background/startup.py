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
def workers_that_are_too_many_finish_their_tasks(db):
    db.sql_flow("unhurried", "insert into app.ledger values ('unhurried'); perform pg_sleep(2); return '1';", max_attempts=2)
    runs = [db.run("unhurried") for _ in range(2)]
    eventually(lambda: all(db.attempts(run) == ["started"] for run in runs), "both are at it")
    before = db.workers("sql")
    try:
        db.cluster.configure(pgflow_workers_per_database=0)
        for run in runs:
            db.completes(run)
        eventually(lambda: db.workers("sql") == [], "then they end", within=2)
        runs.append(db.run("unhurried"))
        time.sleep(1)
        assert db.attempts(runs[-1]) == ["queued"]
        # Wanted again before they have ended, they stay.
        db.cluster.configure(pgflow_workers_per_database=2)
        eventually(lambda: db.attempts(runs[-1]) == ["started"], "one is at it", within=3)
        during = eventually(lambda: len(db.workers("sql")) == 2 and db.workers("sql"), "both are back", within=3)
        assert not set(before) & set(during)
        runs.append(db.run("unhurried"))
        eventually(lambda: db.attempts(runs[-1]) == ["started"], "both are at it")
        db.cluster.configure(pgflow_workers_per_database=0)
        time.sleep(0.3)
        db.cluster.configure(pgflow_workers_per_database=2)
        for run in runs:
            db.completes(run)
            assert db.attempts(run) == ["completed"], db.attempts(run)
        assert db.workers("sql") == during
    finally:
        db.cluster.configure(pgflow_workers_per_database=None)


@test
def a_role_cannot_keep_main_out(db):
    # By an advisory lock, which everybody may take who may connect, of any key and in either form.
    key = int(db.one("select pgflow_locks.queue_key('')"))
    other = Database.create(db.cluster, "kept")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    held = other.rows("select objsubid, mode from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = 'kept')")
    assert held == [["3", "ExclusiveLock"]], held
    high, low = (n - (1 << 32) if n >= 1 << 31 else n for n in (key >> 32 & 0xffffffff, key & 0xffffffff))
    other.rows(f"set role alice; select pg_advisory_lock({key}), pg_advisory_lock({high}, {low}); reset role")
    before = other.workers()
    other.rows("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'kept' and application_name = 'pgflow main'")
    eventually(lambda: other.has_others(before), "they are others", within=15)
    does_tasks(other)
    other.close()
    db.rows("drop database kept")


@test
def settings_of_the_database_do_not_reach_workers(db):
    other = Database.create(db.cluster, "odd")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    for setting in ("default_transaction_isolation = 'serializable'", "default_transaction_read_only = on", "statement_timeout = '10ms'",
                    "lock_timeout = '1ms'", "search_path = app", "default_transaction_deferrable = on"):
        other.rows(f"alter database odd set {setting}")
    # Not those that run, and not those that begin.
    body = "perform pg_sleep(0.1); return to_jsonb(array[current_setting('transaction_isolation'), current_setting('search_path'), current_setting('lock_timeout')]);"
    other.sql_flow("plain", body)
    expected = ["read committed", "pg_catalog, pg_temp", "0"]
    assert other.completes(other.run("plain")) == expected
    before = other.workers()
    other.rows("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'odd' and application_name = 'pgflow main'")
    eventually(lambda: other.has_others(before), "they are others", within=15)
    assert other.completes(other.run("plain")) == expected
    other.close()
    db.rows("drop database odd")


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
    main = eventually(lambda: len(db.workers()) == 3 and db.workers("main"), "they are there", within=8)
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
    db.rows("drop database copied")
    # Workers that are just being started are seen too late to be ended.
    eventually(lambda: count(db, "original") == 3, "they are there again", within=15)
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
    # It waits for what is under way, which counts.
    other.sql_flow("last", "insert into app.ledger values ('last'); perform pg_sleep(1.5); return '1';")
    run = other.run("last")
    eventually(lambda: other.attempts(run) == ["started"], "it is at it")
    other.rows("drop extension pgflow")
    assert other.ledger("last") == [1]
    eventually(lambda: count(db, "other") == 0, "they are gone", within=12)
    log = db.cluster.log()
    assert "panicked" not in log and "TRAP" not in log
    other.close()
    db.rows("drop database other")
