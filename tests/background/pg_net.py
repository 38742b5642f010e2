"""With pgflow.http_transport = 'pg_net' transactions ring endpoints themselves, and endpoints settle by SQL.

pg_net is played by a stand-in: a function of its signature in an extension of its name, which keeps requests in a table, and
a thread that sends what was committed there and reads no answer.
"""
import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.request

import endpoint
import harness
from harness import Cluster, Database, Lost, SqlError, eventually, step, test

_own = {}

STAND_IN = """
create schema net;
create table net.http_request_queue (id bigserial, method text not null, url text not null, headers jsonb, body bytea, timeout_milliseconds int not null);
create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}',
                              headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds int default 5000)
returns bigint language sql as $$
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('POST', url, headers, convert_to(body::text, 'UTF8'), timeout_milliseconds) returning id
$$;
set allow_system_table_mods = on;
insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  select 987654, 'pg_net', nspowner, oid, false, '0' from pg_namespace where nspname = 'net';
reset allow_system_table_mods;
alter extension pg_net add function net.http_post;
"""


class Postman(threading.Thread):
    """Sends what was asked for, in a session of its own."""

    def __init__(self, db):
        super().__init__(daemon=True)
        self.session = db.cluster.session(db.name)
        self.loses = 0
        self.ends = threading.Event()

    def run(self):
        try:
            self.work()
        except Lost:
            pass

    def work(self):
        while not self.ends.wait(0.02):
            for url, headers, body in self.session.rows("""
                    with taken as (delete from net.http_request_queue returning *)
                    select url, headers, convert_from(body, 'UTF8') from taken order by id"""):
                if self.loses:
                    self.loses -= 1
                    continue
                request = urllib.request.Request(url, body.encode(), json.loads(headers), method="POST")
                threading.Thread(target=self.send, args=[request], daemon=True).start()

    def send(self, request):
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except OSError:
            pass  # nobody asks


def own():
    """A server that does not preload the library, and a database there whose HTTP steps are rung for."""
    if not _own:
        cluster = Cluster(harness.PG_CONFIG, "max_worker_processes=12", "max_prepared_transactions=2")
        db = Database.create(cluster, "rung")
        db.rows(STAND_IN)
        db.rows("alter database rung set pgflow.http_transport = 'pg_net'; alter database rung set pgflow.http_allowed_hosts = '127.0.0.1'")
        db.close()
        db.connect()
        _own["postman"] = Postman(db)
        _own["postman"].start()
        _own["db"] = db
    return _own["db"]


def answering(db, run):
    """The endpoint's side of a run: whatever it is handed it completes by SQL, with the task's input."""
    session = db.cluster.session(db.name)
    done, end = set(), time.monotonic() + 20
    while session.one(f"select status from pgflow.runs where run_id = '{run}'") not in ("completed", "failed"):
        assert time.monotonic() < end, session.rows(f"select * from pgflow.step_tasks where run_id = '{run}'")
        for request in endpoint.server().of(run):
            task = request.task
            if task["lease"] not in done:
                done.add(task["lease"])
                output = json.dumps(task["input"]).replace("'", "''")
                session.one(f"""select pgflow.complete_step_task('{run}', '{task["step_slug"]}', '{output}', {task["task_index"]}, {task["lease"]})""")
        time.sleep(0.01)
    session.close()


@test
def a_flow_of_http_steps_needs_no_process_of_pgflow(_):
    db = own()
    url = endpoint.server().url("/status/202")
    db.flow("rung", step("a", "http", url), step("m", "http", url, step_type="map"), step("z", "http", url, deps_slugs=["a", "m"]))
    run = db.run("rung", list(range(30)))
    answering(db, run)
    output = db.completes(run)
    assert [one["index"] for one in output["m"]] == list(range(30)) and output["a"] == {"run": list(range(30))}, output
    assert len(endpoint.server().of(run)) == 32
    assert db.workers() == []
    assert db.rows(f"select distinct worker_id from pgflow.step_tasks where run_id = '{run}'") == [["pg_net"]]


@test
def a_ring_is_signed_and_says_that_its_answer_is_not_read(_):
    db = own()
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    # An answer that would complete the step if it were read, and one that would fail it.
    db.flow("signed", step("a", "http", endpoint.server().url("/echo")), step("b", "http", endpoint.server().url("/status/500")))
    db.as_role("alice", f"select pgflow.set_http_secrets(array['{secret}'], 'signed')")
    run = db.run("signed", {"ü": [1.50, None]})
    requests = eventually(lambda: len(endpoint.server().of(run)) == 2 and endpoint.server().of(run), "both were rung")
    for request in requests:
        headers = request.headers
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        right = "v1," + base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), text, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == right
        assert headers["prefer"] == "respond-async" and headers["content-type"] == "application/json"
        assert headers["idempotency-key"] == f"{run}/{request.task['step_slug']}/0"
    time.sleep(0.2)
    assert db.attempts(run) == ["started", "started"]
    answering(db, run)
    db.completes(run)


@test
def a_lost_ring_is_rung_again(_):
    db = own()
    db.flow("lost", step("a", "http", endpoint.server().url("/status/202")))
    _own["postman"].loses = 1
    run = db.run("lost")
    eventually(lambda: _own["postman"].loses == 0, "it is lost")
    db.rows("select pgflow.run_upkeep()")
    time.sleep(0.2)
    assert endpoint.server().of(run) == []
    # The lease ends now, instead of in two minutes.
    db.rows(f"update pgflow.live_tasks set lease_expires_at = clock_timestamp() where run_id = '{run}'")
    db.rows("select pgflow.run_upkeep()")
    answering(db, run)
    db.completes(run)
    assert db.attempts(run) == ["expired", "completed"]


@test
def a_transaction_that_is_prepared_rings_when_upkeep_finds_it(_):
    db = own()
    db.flow("prepared", step("a", "http", endpoint.server().url("/status/202")))
    run = db.one("begin; select pgflow.run_flow('prepared'); prepare transaction 'ring'")
    db.rows("select pgflow.run_upkeep()")
    db.rows("commit prepared 'ring'")
    time.sleep(0.2)
    assert db.attempts(run) == ["queued"] and endpoint.server().of(run) == []
    db.rows("select pgflow.run_upkeep()")
    answering(db, run)
    db.completes(run)


@test
def many_sessions_ring_for_each_task_once(_):
    db = own()
    db.flow("busy", step("a", "http", endpoint.server().url("/status/202")), step("b", "http", endpoint.server().url("/status/202"), deps_slugs=["a"]))
    # The first run of a version freezes it, and may meet another one in that.
    runs, mistakes = [db.run("busy")], []

    def start(level):
        session = db.cluster.session(db.name)
        for _ in range(15):
            try:
                runs.append(session.one(f"begin isolation level {level}; select pgflow.run_flow('busy'); commit"))
            except SqlError as error:
                # Which such transactions are to be ready for, whatever they do.
                if not (level == "serializable" and error.sqlstate == "40001"):
                    mistakes.append(error)
                session.rows("rollback")
        session.close()

    threads = [threading.Thread(target=start, args=[level]) for level in ("read committed", "read committed", "repeatable read", "serializable")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mistakes, mistakes
    assert len(runs) >= 46, len(runs)
    # At REPEATABLE READ some were left to others.
    db.rows("select pgflow.run_upkeep()")
    for run in runs:
        answering(db, run)
        assert db.attempts(run) == ["completed", "completed"], db.attempts(run)
        keys = [request.headers["idempotency-key"] for request in endpoint.server().of(run)]
        assert sorted(keys) == [f"{run}/a/0", f"{run}/b/0"], keys
    db.is_sound()


@test
def a_role_cannot_turn_it_on_or_open_hosts(_):
    db = own()
    session = db.cluster.session("postgres")
    session.rows("create extension pgflow; grant usage on schema pgflow to bob; grant execute on all functions in schema pgflow to bob")
    session.close()
    session = db.cluster.session("postgres")
    # Before the library is loaded any role may set a name like this.
    session.rows("set session authorization bob; set pgflow.http_transport = 'pg_net'; set pgflow.http_allowed_hosts = '*'")
    session.rows("select pgflow.define_flow('{\"flow_slug\": \"h\", \"steps\": [{\"step_slug\": \"h\", \"executor\": \"http\", \"target\": \"https://example.com/\"}]}')")
    shown = session.one("show pgflow.http_transport"), session.one("show pgflow.http_allowed_hosts")
    assert shown == ("background", ""), shown
    session.refuses("set pgflow.http_transport = 'pg_net'", "42501")
    session.refuses("set pgflow.http_allowed_hosts = '*'", "42501")
    session.close()


@test
def a_background_worker_rings_on_time(_):
    db = own()
    db.rows("select pgflow.start_background()")
    eventually(lambda: len(db.workers()) == 3, "they are there", within=5)
    db.flow("punctual", step("a", "http", endpoint.server().url("/status/202"), start_delay=1))
    run = db.run("punctual")
    request = eventually(lambda: endpoint.server().of(run), "it was rung", within=3)[0]
    assert request.headers["prefer"] == "respond-async"
    late = float(db.one(f"select extract(epoch from started_at - queued_at) - 1 from pgflow.step_tasks where run_id = '{run}'"))
    assert 0 <= late < 0.5, late
    answering(db, run)
    assert db.attempts(run) == ["completed"]


@test
def a_background_worker_without_pg_net_goes_on(_):
    db = own()
    start = db.cluster.log_size()
    db.rows("alter extension pg_net drop function net.http_post")
    db.flow("waits_for_it", step("a", "http", endpoint.server().url("/status/202")), step("t", "timer", start_delay=1))
    # The client is told by a warning.
    run = db.one("set client_min_messages = error; select pgflow.run_flow('waits_for_it')")
    eventually(lambda: db.attempts(run) == ["queued", "completed"], "the timer ends", within=4)
    assert db.cluster.log(start).count("pg_net is missing") < 10
    db.rows("alter extension pg_net add function net.http_post")
    eventually(lambda: endpoint.server().of(run), "it was rung", within=7)
    answering(db, run)
    db.completes(run)
    _own["postman"].ends.set()
    db.close()
