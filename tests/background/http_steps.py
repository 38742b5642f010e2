"""Steps of executor http, against an endpoint that answers well, slowly, wrongly, hugely or never."""
import base64
import hashlib
import hmac
import time

import endpoint
from harness import Database, eventually, step, test


def http_flow(db, slug, path, **fields):
    db.flow(slug, step("s", "http", endpoint.server().url(path), **fields))


@test
def the_answer_is_the_output(db):
    http_flow(db, "answers", "/echo")
    run = db.run("answers", {"a": ["ü", 1.5, None]})
    assert db.completes(run) == {"run": {"a": ["ü", 1.5, None]}}


@test
def the_request_says_what_it_is_about(db):
    http_flow(db, "asks", "/echo/0/x?y=z")
    run = db.run("asks", {"a": 1})
    db.completes(run)
    request, = endpoint.server().of(run)
    assert request.path == "/echo/0/x?y=z"
    assert request.task["input"] == {"run": {"a": 1}} and request.task["attempt"] == 1 and request.task["step_slug"] == "s"
    headers = request.headers
    assert headers["content-type"] == "application/json"
    assert (headers["pgflow-run-id"], headers["pgflow-flow-slug"], headers["pgflow-step-slug"], headers["pgflow-task-index"],
            headers["pgflow-attempt"]) == (run, "asks", "s", "0", "1")
    assert headers["idempotency-key"] == headers["webhook-id"] == f"{run}/s/0"
    assert headers["traceparent"].split("-")[1] == run.replace("-", "")
    assert "webhook-signature" not in headers


@test
def two_secrets_make_two_right_signatures(db):
    secrets = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    http_flow(db, "signed", "/echo")
    db.as_role("alice", f"select pgflow.set_http_secrets(array['{secrets[0]}', '{secrets[1]}'], 'signed')")
    run = db.run("signed")
    db.completes(run)
    request, = endpoint.server().of(run)
    text = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    right = ["v1," + base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), text, hashlib.sha256)).decode() for secret in secrets]
    assert request.headers["webhook-signature"].split() == right
    assert abs(time.time() - int(request.headers["webhook-timestamp"])) < 60


#: What Supabase Vault has, as far as anybody else sees it: a view of an owner of its own, who alone may call what decrypts.
VAULT = """
create role vault_admin;
create schema vault authorization vault_admin;
set role vault_admin;
create table vault.secrets (id uuid primary key default gen_random_uuid(), name text unique, description text not null default '', secret text not null,
                            key_id uuid, nonce bytea, created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table vault.seen (who name, path text);
create function vault._crypto_aead_det_decrypt(message bytea) returns bytea language plpgsql volatile as $$
begin
  insert into vault.seen values (current_user, current_setting('search_path'));
  perform set_config('search_path', 'elsewhere', false);
  return message;
end $$;
revoke all on function vault._crypto_aead_det_decrypt from public;
create view vault.decrypted_secrets as
  select s.id, s.name, s.description, s.secret,
         convert_from(vault._crypto_aead_det_decrypt(decode(s.secret, 'base64')), 'utf8') as decrypted_secret,
         s.key_id, s.nonce, s.created_at, s.updated_at
  from vault.secrets s;
reset role
"""


def keys_of(request, secrets):
    """Which of the secrets a request is signed with."""
    text = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    signatures = {"v1," + base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), text, hashlib.sha256)).decode(): secret for secret in secrets}
    return [signatures.get(one) for one in request.headers.get("webhook-signature", "").split()]


@test
def secrets_may_be_in_vault(db):
    own, general, new, plain = ("whsec_" + base64.b64encode(bytes([n]) * 24).decode() for n in range(3, 7))
    other = Database.create(db.cluster, "vaulted")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    for slug in ("signs", "others"):
        http_flow(other, slug, "/echo")

    def keys(slug):
        run = other.run(slug)
        other.completes(run)
        return keys_of(endpoint.server().of(run)[0], [own, general, new, plain])

    def put(name, secret):
        other.rows(f"""insert into vault.secrets (name, secret) values ('{name}', encode('{secret}', 'base64'))
                       on conflict (name) do update set secret = excluded.secret""")

    other.rows(VAULT)
    put("pgflow_http", general)
    # Anybody can make a schema of that name: it is not Vault's.
    assert keys("signs") == []
    other.rows("""set allow_system_table_mods = on;
                  insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
                    select 987655, 'supabase_vault', nspowner, oid, false, '0' from pg_namespace where nspname = 'vault';
                  reset allow_system_table_mods;
                  alter extension supabase_vault add view vault.decrypted_secrets""")
    assert keys("signs") == keys("others") == [general]
    put("pgflow_http_signs", f"{own} {new}")
    assert (keys("signs"), keys("others")) == ([own, new], [general])
    # What is in the table comes first, of the flow and of all flows.
    other.rows(f"select pgflow.set_http_secrets(array['{plain}'])")
    assert (keys("signs"), keys("others")) == ([own, new], [plain])
    other.rows(f"select pgflow.set_http_secrets(array['{plain}'], 'signs')")
    assert keys("signs") == [plain]
    # It is read by its owner, and what that leaves behind does not stay.
    assert other.rows("select distinct who, path from vault.seen") == [["vault_admin", "pg_catalog, pg_temp"]]
    # A secret that is none fails requests, and says so.
    put("pgflow_http_signs", "hunter2")
    other.rows("select pgflow.set_http_secrets('{}', 'signs')")
    other.flow("signs", step("s", "http", endpoint.server().url("/echo"), max_attempts=1))
    message = other.fails(other.run("signs"))
    assert "a secret of flow" in message and "hunter2" not in message, message
    other.close()
    db.rows("drop database vaulted; drop role vault_admin")


@test
def an_accepted_task_is_completed_later(db):
    http_flow(db, "accepted", "/status/202", timeout=30)
    run = db.run("accepted")
    request = eventually(lambda: endpoint.server().of(run), "the request came")[0]
    time.sleep(0.3)
    assert db.attempts(run) == ["started"]
    db.rows(f"select pgflow.complete_step_task('{run}', 's', '\"later\"', lease => {request.task['lease']})")
    assert db.completes(run) == "later"
    assert len(endpoint.server().of(run)) == 1


@test
def an_accepted_task_outlives_the_process_that_asked(db):
    http_flow(db, "outlives", "/status/202", timeout=30)
    run = db.run("outlives")
    request = eventually(lambda: endpoint.server().of(run), "the request came")[0]
    time.sleep(0.3)
    main, = db.workers("main")
    db.rows(f"select pg_terminate_backend({main})")
    eventually(lambda: db.has_others([main], "main"), "another main", within=15)
    time.sleep(0.3)
    db.rows(f"select pgflow.complete_step_task('{run}', 's', '\"later\"', lease => {request.task['lease']})")
    assert db.completes(run) == "later"
    assert db.attempts(run) == ["completed"]


@test
def an_accepted_task_that_nobody_completes_is_sent_again(db):
    http_flow(db, "forgotten", "/status/202", timeout=30)
    run = db.run("forgotten")
    eventually(lambda: endpoint.server().of(run), "the request came")
    eventually(lambda: db.one(f"select lease_expires_at - clock_timestamp() <= '30 seconds' from pgflow.live_tasks where run_id = '{run}'") == "t",
               "it has been handed over")
    # The lease ends now, instead of in half a minute.
    db.rows(f"update pgflow.live_tasks set lease_expires_at = clock_timestamp() where run_id = '{run}'")
    eventually(lambda: len(endpoint.server().of(run)) == 2, "it came again", within=6)
    assert [request.headers["pgflow-attempt"] for request in endpoint.server().of(run)] == ["1", "2"]
    db.rows(f"select pgflow.cancel_run('{run}')")


@test
def an_accepted_task_is_leased_for_its_steps_timeout(db):
    http_flow(db, "promised", "/status/202", timeout=2, max_attempts=1)
    run = db.run("promised")
    request = eventually(lambda: endpoint.server().of(run), "the request came")[0]
    promised = db.one(f"select '{request.task['lease_expires_at']}'::timestamptz - started_at from pgflow.step_tasks where run_id = '{run}'")
    assert promised == "00:00:02", promised
    eventually(lambda: db.one(f"select lease_expires_at - clock_timestamp() <= '2 seconds' from pgflow.live_tasks where run_id = '{run}'") == "t",
               "it has been handed over")
    db.ended(run, 10)
    assert db.attempts(run) == ["expired"], db.attempts(run)


@test
def retry_after_is_honoured(db):
    http_flow(db, "busy", "/once/429", base_delay=100)
    run = db.run("busy")
    assert db.completes(run) == 1
    first, second = endpoint.server().of(run)
    assert 1 <= second.begun - first.begun < 1.8, second.begun - first.begun
    assert db.one(f"select error_message from pgflow.step_tasks where run_id = '{run}' and attempt = 1").startswith("HTTP 429 Too Many Requests")


@test
def an_error_of_the_server_is_tried_again(db):
    http_flow(db, "error", "/once/500", base_delay=1)
    run = db.run("error")
    assert db.completes(run) == 1
    assert db.attempts(run) == ["failed", "completed"]


@test
def an_error_of_the_client_is_not_tried_again(db):
    http_flow(db, "missing", "/status/404")
    run = db.run("missing")
    message = db.fails(run)
    assert message == 'HTTP 404 Not Found: {"why": "told so"}', message
    assert db.attempts(run) == ["failed"]


@test
def a_wrong_answer_is_told(db):
    said = {
        "/huge": ("huge", 1), "/garbage": ("JSON", 2), "/broken": ("", 2), "/rubbish": ("", 2), "/away": ("HTTP 302", 1),
        "/status/503": ("HTTP 503", 2), "/never": ("1 s", 2),
    }
    runs = {}
    for path in said:
        slug = "wrong" + path.replace("/", "_")
        http_flow(db, slug, path, max_attempts=2, base_delay=1, timeout=1)
        runs[path] = db.run(slug)
    for path, (words, attempts) in said.items():
        message = db.fails(runs[path], 15)
        assert message and "\n" not in message and len(message) < 1000, message
        assert db.attempts(runs[path]) == ["failed"] * attempts, (path, message, db.attempts(runs[path]))
        if path not in ("/huge", "/never"):
            assert words in message, (path, message)
    assert "MB" in db.error(runs["/huge"]) or "bytes" in db.error(runs["/huge"]), db.error(runs["/huge"])
    assert "within 1s" in db.error(runs["/never"]), db.error(runs["/never"])


@test
def nobody_listening_is_tried_again(db):
    db.flow("refused", step("s", "http", "http://127.0.0.1:1/", max_attempts=2, base_delay=1))
    run = db.run("refused")
    assert "refused" in db.fails(run), db.error(run)
    assert db.attempts(run) == ["failed", "failed"]


@test
def a_host_that_is_not_allowed_is_not_called(db):
    db.flow("private", step("s", "http", "http://127.0.0.2:1/"))
    run = db.run("private")
    assert "not allowed" in db.fails(run) or "allowed" in db.error(run), db.error(run)
    assert db.attempts(run) == ["failed"]
    try:
        db.cluster.configure(pgflow_http_allowed_hosts="")
        http_flow(db, "closed", "/echo")
        eventually(lambda: db.one("show pgflow.http_allowed_hosts") == "", "the setting is read")
        time.sleep(0.2)
        run = db.run("closed")
        assert "allowed" in db.fails(run), db.error(run)
        assert endpoint.server().of(run) == []
    finally:
        db.cluster.configure(pgflow_http_allowed_hosts=None)
        time.sleep(0.2)
    assert db.completes(db.run("closed")) == {"run": {}}


@test
def a_hundred_slow_requests_are_under_way_at_once(db):
    server = endpoint.server()
    db.flow("many", step("m", "http", server.url("/echo/1"), step_type="map"))
    begun = time.monotonic()
    run = db.run("many", list(range(100)))
    eventually(lambda: endpoint.under_way(server.of(run)) == 100, "all are under way")
    # While they are, the process has no transaction.
    seen = []
    while endpoint.under_way(server.of(run)) == 100:
        seen += db.rows("select xact_start, backend_xmin from pg_stat_activity where application_name = 'pgflow main' and datname = current_database()")
        time.sleep(0.02)
    assert len(seen) > 5 and seen.count([None, None]) > len(seen) * 0.8, seen
    output = db.completes(run)
    assert [one["index"] for one in output] == list(range(100))
    assert time.monotonic() - begun < 4
    assert len(server.of(run)) == 100


@test
def limits_of_requests_are_kept(db):
    server = endpoint.server()
    try:
        db.cluster.configure(pgflow_http_max_requests_per_host=5)
        time.sleep(0.3)
        db.flow("few", step("m", "http", server.url("/echo/0.1"), step_type="map"))
        run = db.run("few", list(range(40)))
        db.completes(run, 20)
        requests = server.of(run)
        assert len(requests) == 40
        most = max(sum(other.begun <= one.begun < other.ended for other in requests) for one in requests)
        assert most == 5, most
    finally:
        db.cluster.configure(pgflow_http_max_requests_per_host=None)


@test
def a_cancelled_run_takes_no_answer(db):
    http_flow(db, "cancelled", "/echo/0.5")
    run = db.run("cancelled")
    eventually(lambda: endpoint.server().of(run), "it is under way")
    db.rows(f"select pgflow.cancel_run('{run}')")
    time.sleep(0.8)
    assert db.status(run) == "cancelled" and db.attempts(run) == ["cancelled"]


@test
def outputs_go_on_to_sql_steps(db):
    db.handler("takes", "return i->'h';")
    db.flow("mixed_executors", step("h", "http", endpoint.server().url("/echo")), step("s", "sql", "app.takes", deps_slugs=["h"]))
    assert db.completes(db.run("mixed_executors", {"x": 1})) == {"run": {"x": 1}}
