"""Changes of runs and steps are told to who listens, as docs/realtime.md describes it, whoever makes them."""
import json
import threading
import time

from harness import Database, eventually, shared, step, test

KEY = "pgflow_locks.events_key()"
_own = {}


def own():
    if not _own:
        _own["db"] = Database.create(shared(), "told")
    return _own["db"]


class Listener:
    """First LISTEN, then the lock; from then on what is read and what is heard leave nothing out."""

    def __init__(self, db):
        self.session = db.cluster.session(db.name)
        self.session.rows("listen pgflow_events")
        self.session.rows(f"select pg_advisory_lock_shared({KEY})")

    def events(self):
        """What was heard so far, in order."""
        self.session.rows("select 1")
        return [(change["run_id"], change["event_type"], change.get("step_slug"))
                for payload in self.session.heard for change in json.loads(payload)]

    def close(self):
        self.session.close()


@test
def what_background_workers_do_is_told_in_order(_):
    db = own()
    db.handler("one", "return '1';")
    db.flow("inner", step("s", "sql", "app.one"))
    db.flow("outer", step("t", "timer", start_delay=1), step("f", "flow", "inner", deps_slugs=["t"]), step("s", "sql", "app.one", deps_slugs=["f"]))
    for slug in ("inner", "outer"):
        db.as_role("alice", f"select pgflow.set_realtime('{slug}')")
    listener = Listener(db)
    run = db.run("outer")
    db.completes(run)
    heard = eventually(lambda: (run, "run:completed", None) in listener.events() and listener.events(), "the end is heard")
    child = db.one(f"select run_id from pgflow.runs where parent_run_id = '{run}'")
    assert heard == [
        (run, "run:started", None), (run, "step:started", "t"), (run, "step:completed", "t"), (run, "step:started", "f"),
        (child, "run:started", None), (child, "step:started", "s"), (child, "step:completed", "s"), (child, "run:completed", None),
        (run, "step:completed", "f"), (run, "step:started", "s"), (run, "step:completed", "s"), (run, "run:completed", None)], heard
    listener.close()


@test
def a_failing_send_holds_no_background_worker_up(_):
    db = own()
    db.rows("""create schema realtime;
               create function realtime.send(payload jsonb, event text, topic text, private boolean) returns void
               language plpgsql as $$ begin raise 'no'; end $$""")
    start = db.cluster.log_size()
    db.rows("set client_min_messages = error")
    assert db.completes(db.run("inner")) == 1
    db.rows("drop schema realtime cascade; reset client_min_messages")
    assert "realtime.send failed: no" in db.cluster.log(start)


@test
def who_begins_to_listen_waits_for_a_commit_that_tells_nobody(_):
    db = own()
    db.flow("held", step("s", "external"))
    db.as_role("alice", "select pgflow.set_realtime('held')")
    caller, listener = db.cluster.session(db.name), db.cluster.session(db.name)
    # A commit waits for a standby that there is not: it is on disk, and its transaction still goes on.
    db.cluster.configure(synchronous_standby_names="nobody")
    eventually(lambda: db.one("show synchronous_standby_names") == "nobody", "the setting is read")
    try:
        caller.send("select pgflow.run_flow('held')")
        eventually(lambda: db.rows("select pid from pg_stat_activity where wait_event = 'SyncRep'"), "the commit waits")
        listener.rows("listen pgflow_events")
        listener.send(f"select pg_advisory_lock_shared({KEY})")
        time.sleep(0.3)
        waiting = db.rows("select pid from pg_locks where locktype = 'advisory' and not granted")
    finally:
        db.cluster.configure(synchronous_standby_names=None)
    (run,), = caller.receive()
    listener.receive()
    read = listener.rows("select run_id from pgflow.runs where flow_slug = 'held'")
    assert read == [[run]] and waiting, "what it was not told of it can read"
    assert listener.heard == []
    caller.close()
    listener.close()


@test
def who_comes_while_others_commit_misses_nothing(_):
    db = own()
    db.flow("busy", step("s", "external"))
    db.as_role("alice", "select pgflow.set_realtime('busy')")
    end = time.monotonic() + 6
    failures = []

    def call():
        session = db.cluster.session(db.name)
        try:
            while time.monotonic() < end:
                session.rows("select pgflow.run_flow('busy')")
        except Exception as error:  # reported below
            failures.append(error)
        session.close()

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    runs = "select run_id from pgflow.runs where flow_slug = 'busy'"
    windows = 0
    while time.monotonic() < end:
        listener = Listener(db)
        read = {run for run, in listener.session.rows(runs)}
        time.sleep(0.02)
        later = {run for run, in listener.session.rows(runs)}
        eventually(lambda: later <= read | {run for run, _, _ in listener.events()}, "what is there was read or heard", within=3)
        listener.close()
        windows += 1
    for caller in callers:
        caller.join()
    assert not failures and windows > 5, (failures, windows)
    db.is_sound()
    db.close()
