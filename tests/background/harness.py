"""What the tests share: the list of them, the server they use, and flows in a database."""
import json
import signal
import sys
import time
import traceback

from cluster import Cluster, Lost, Session, SqlError, eventually

PG_CONFIG = None
TESTS = []
_shared = {}


def test(function):
    """The function is a test, and its name is what it proves."""
    TESTS.append(function)
    return function


def shared():
    """The server that preloads the library, which the tests leave as they found it."""
    if "cluster" not in _shared:
        _shared["cluster"] = Cluster(
            PG_CONFIG, "shared_preload_libraries=pgflow", "max_worker_processes=40", "max_connections=50", "max_prepared_transactions=5",
            "log_line_prefix='%m [%p] %q%a@%d '", "pgflow.http_allowed_hosts='127.0.0.1'", "pgflow.http_max_requests_per_host=200",
            "pgflow.http_max_response='1MB'")
    return _shared["cluster"]


def database():
    """The database that most tests share, with the extension, a schema for handlers, and two roles that own flows."""
    if "database" not in _shared:
        _shared["database"] = Database.create(shared(), "work")
    db = _shared["database"]
    if db.session is None:
        db.connect()
    return db


class Database:
    """A database with the extension, and a session in it."""

    def __init__(self, cluster, name):
        self.cluster, self.name, self.session = cluster, name, None
        self.connect()

    @classmethod
    def create(cls, cluster, name):
        session = cluster.session()
        session.rows(f'create database "{name}"')
        if not session.rows("select 1 from pg_roles where rolname = 'alice'"):
            session.rows("create role alice; create role bob")
        session.close()
        db = cls(cluster, name)
        db.session.rows("""
            create extension pgflow;
            create schema app;
            select pgflow.grant_access('alice', 'author'), pgflow.grant_access('bob', 'author');
            grant usage, create on schema app to alice, bob;
            create table app.ledger (task text, who name default current_user, at timestamptz default clock_timestamp());
            grant all on app.ledger to alice, bob;""")
        return db

    def connect(self):
        self.session = self.cluster.session(self.name)

    def close(self):
        if self.session:
            self.session.close()
            self.session = None

    def reconnect(self):
        """After the server was away."""
        self.close()
        eventually(self.cluster.connects, "the server takes connections", within=30)
        self.connect()

    def rows(self, text):
        return self.session.rows(text)

    def one(self, text):
        return self.session.one(text)

    def handler(self, name, body, owner="alice", declare="", options=""):
        """A PL/pgSQL function of that role in schema app: `i` is the input."""
        self.as_role(owner, f"""
            create or replace function app.{name}(i jsonb) returns jsonb language plpgsql {options} as $$
            declare {declare} begin {body} end $$""")

    def as_role(self, role, text):
        self.rows(f"set role {role}")
        try:
            return self.rows(text)
        finally:
            self.rows("reset role")

    def flow(self, slug, *steps, owner="alice", **fields):
        """Defines a flow of that role. A step is its slug, its executor, its target, and other fields."""
        document = {"flow_slug": slug, "base_delay": 1, "steps": [dict(step) for step in steps], **fields}
        text = json.dumps(document).replace("'", "''")
        self.as_role(owner, f"select pgflow.define_flow('{text}')")

    def sql_flow(self, slug, body, owner="alice", declare="", options="", **fields):
        """A flow of one SQL step, whose handler has that body."""
        self.handler(slug, body, owner, declare, options)
        self.flow(slug, step("s", "sql", f"app.{slug}", **fields), owner=owner)

    def run(self, slug, payload=None, owner="alice"):
        text = json.dumps(payload if payload is not None else {}).replace("'", "''")
        return self.as_role(owner, f"select pgflow.run_flow('{slug}', '{text}')")[0][0]

    def status(self, run):
        return self.one(f"select status from pgflow.runs where run_id = '{run}'")

    def ended(self, run, within=10.0):
        """Waits for the end of a run and returns its status."""
        eventually(lambda: self.status(run) in ("completed", "failed", "cancelled"), f"run {run} ends", within)
        return self.status(run)

    def completes(self, run, within=10.0):
        status = self.ended(run, within)
        assert status == "completed", f"{status}: {self.error(run)}"
        return self.output(run)

    def fails(self, run, within=10.0):
        """Waits until a run has failed, and returns the message of its last attempt."""
        status = self.ended(run, within)
        assert status == "failed", status
        return self.error(run)

    def output(self, run):
        """The output of the run's only leaf, or of all."""
        output = self.one(f"select output from pgflow.runs where run_id = '{run}'")
        output = json.loads(output) if output is not None else None
        return next(iter(output.values())) if isinstance(output, dict) and len(output) == 1 else output

    def error(self, run):
        return self.one(f"""select error_message from pgflow.step_tasks where run_id = '{run}' and error_message is not null
                            order by attempt desc, task_index limit 1""")

    def attempts(self, run):
        """How the attempts of a run ended, in their order."""
        return [status for status, in self.rows(f"select status from pgflow.step_tasks where run_id = '{run}' order by step_slug, task_index, attempt")]

    def ledger(self, like):
        """How often each task was done that is spelled so."""
        return [int(n) for n, in self.rows(f"select count(*) from app.ledger where task like '{like}' group by task")]

    def workers(self, kind=None):
        """The pids of the background workers of this database, which are main or sql."""
        where = f"and application_name = 'pgflow {kind}'" if kind else ""
        return [int(pid) for pid, in self.rows(f"""
            select pid from pg_stat_activity where backend_type = 'pgflow worker' and datname = '{self.name}' {where} order by 1""")]

    def has_others(self, before, kind=None):
        """Whether there are as many workers as before, and none of them."""
        now = self.workers(kind)
        return len(now) == len(before) and not set(now) & set(before)

    def is_sound(self):
        problems = self.rows("select * from pgflow.check_integrity()")
        assert not problems, problems


def step(slug, executor, target=None, **fields):
    return {"step_slug": slug, "executor": executor, **({"target": target} if target else {}), **fields}


def _interrupted(*_):
    raise SystemExit(130)


def run(pg_config, words):
    global PG_CONFIG
    PG_CONFIG = pg_config
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGHUP, _interrupted)
    passed = failed = 0
    for function in TESTS:
        name = f"{function.__module__}: {function.__name__.replace('_', ' ')}"
        if words and not any(word in name for word in words):
            continue
        begun = time.monotonic()
        try:
            function(database())
            passed += 1
            verdict = "ok    "
        except Exception as error:  # whatever it is, the others are still to be run
            failed += 1
            verdict = "FAILED"
            where = traceback.extract_tb(error.__traceback__)
            own = next((f for f in where if f.filename.endswith(f"{function.__module__}.py")), where[-1])
            print(f"  line {own.lineno}: {own.line}\n  {type(error).__name__} {str(error)[:2000]}")
            db = _shared.get("database")
            if db:
                try:
                    db.reconnect()
                except AssertionError:
                    pass
        print(f"{verdict} {time.monotonic() - begun:5.1f} s  {name}", flush=True)
    unseen = "" if not failed else f"; the server's log: {_last_lines()}"
    print(f"{passed} passed, {failed} failed")
    if unseen:
        print(unseen, file=sys.stderr)
    return 1 if failed or not passed else 0


def _last_lines():
    cluster = _shared.get("cluster")
    return "\n".join(cluster.log().splitlines()[-30:]) if cluster else ""


__all__ = ["Cluster", "Database", "Lost", "Session", "SqlError", "database", "eventually", "shared", "step", "test"]
