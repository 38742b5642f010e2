"""Handlers have the rights of their flow's owner, no more, and leave nothing behind for another one's."""
import json

from harness import eventually, step, test


def tries(db, slug, *statements, owner="alice"):
    """Has a handler try each statement, and returns the SQLSTATE of each; 00000 is none."""
    body = "o := '[]'; " + "".join(
        f"begin {statement}; o := o || '[\"00000\"]'; exception when others then o := o || to_jsonb(sqlstate); end; " for statement in statements)
    db.sql_flow(slug, body + "return o;", owner=owner, declare="o jsonb;")
    return db.completes(db.run(slug, owner=owner))


@test
def a_handler_is_the_owner_whoever_asks(db):
    db.sql_flow("who", """return jsonb_build_object('current', current_user, 'session', session_user, 'super', current_setting('is_superuser'),
                          'role', current_setting('role'), 'path', current_setting('search_path'))""" + ";")
    assert db.completes(db.run("who")) == {
        "current": "alice", "session": "alice", "super": "off", "role": "none", "path": "pg_catalog, pg_temp"}


@test
def a_superusers_handler_is_a_superuser(db):
    db.sql_flow("super", "return jsonb_build_array(current_user, session_user, current_setting('is_superuser'));", owner="postgres")
    assert db.completes(db.run("super", owner="postgres")) == ["postgres", "postgres", "on"]
    # And the next one is not.
    assert db.completes(db.run("who"))["super"] == "off"


@test
def there_is_no_way_back_to_the_workers_rights(db):
    db.rows("create role delta; grant delta to alice")
    states = tries(
        db, "back", "set role postgres", "set role delta", "reset role", "set session authorization postgres",
        "set session authorization default", "reset session authorization", "perform set_config('role', 'postgres', true)",
        "perform set_config('session_authorization', 'postgres', false)", "perform set_config('is_superuser', 'on', false)",
        "set local role postgres")
    assert "00000" not in states, states
    states = tries(
        db, "reach", "perform pg_catalog.pg_read_file('PG_VERSION')", "copy (select 1) to program 'true'", "create role epsilon",
        "perform from pgflow.http_secrets", "perform from pg_catalog.pg_authid", "update pgflow.runs set status = 'completed'",
        "set log_statement = 'all'", "alter role alice superuser", f"perform pg_terminate_backend({db.workers('main')[0]})")
    assert states == ["42501"] * len(states), states
    # What is refused is not refused for want of another reason.
    assert tries(db, "may", "perform pg_catalog.pg_read_file('PG_VERSION')", "perform from pg_catalog.pg_authid", owner="postgres") == ["00000"] * 2


@test
def a_handler_does_with_runs_what_its_owner_may(db):
    # Bob's run, which has a step that waits and one that is ready, and a flow that only bob may run.
    db.flow("bobs_own", step("ask", "external", "asked", queue="asking"), step("work", "worker"), owner="bob")
    victim = db.run("bobs_own", owner="bob")
    run, outcome = f"'{victim}'", lambda call: f"perform pgflow.{call}"
    states = tries(
        db, "prowls", outcome(f"get_run({run})"), outcome(f"cancel_run({run})"), outcome(f"retry_run({run})"), outcome(f"fork_run({run}, '{{}}')"),
        outcome(f"start_step({run}, 'work')"), outcome(f"complete_step({run}, 'ask')"), outcome(f"complete_step_task({run}, 'work')"),
        outcome(f"fail_step_task({run}, 'work', 'no', lease => 1)"), outcome(f"extend_step_task({run}, 'work', lease => 1)"), outcome("flow_graph('bobs_own')"))
    assert states == ["PT404"] * len(states), states
    states = tries(
        db, "climbs_up", outcome("run_flow('bobs_own')"), outcome("claim_step_tasks('bobs_own')"), outcome("prune_runs('0')"), outcome("run_upkeep()"),
        outcome("grant_access('alice', 'operator')"), outcome("grant_run('bobs_own', 'alice')"), outcome("grant_queue('bobs_own', 'alice')"),
        outcome("grant_step('bobs_own', 'ask', 'alice')"), outcome("schedule_flow('borrowed', 'bobs_own', '@hourly')"), outcome("add_step('bobs_own', 'more')"),
        outcome("set_http_secrets('{}', 'bobs_own')"), "insert into pgflow.access_grants values ('alice', 'operator', 'alice', now())", "perform from pgflow.live_tasks",
        "set row_security = off; perform from pgflow.runs")
    assert states == ["42501"] * len(states), states
    # Claims that it sets for itself are nobody's, and neither tables nor events show or touch what is bob's.
    db.sql_flow("claims", f"""
        perform set_config('request.jwt.claims', '{{"sub": "bob", "role": "bob"}}', true);
        return jsonb_build_array(
            (select count(*) from pgflow.runs where run_id = {run}), (select count(*) from pgflow.step_tasks where run_id = {run}),
            (select count(*) from pgflow.flows where owner <> 'alice'), pgflow.send_event('asked'), pgflow.on_behalf_of(), to_jsonb(pgflow.seen_creators()),
            pgflow.run_flow('claims_child'));""")
    db.flow("claims_child", step("ask", "external"))
    *found, seen, child = db.completes(db.run("claims"))
    assert found == [0, 0, 0, 0, None] and "alice" in seen and "bob" not in seen, (found, seen)
    assert db.rows(f"select created_by, created_for from pgflow.runs where run_id = '{child}'") == [["alice", None]]
    assert db.status(victim) == "started" and db.attempts(victim) == ["started", "queued"]
    # A flow of hers that has bob's for a step.
    db.flow("borrows", step("borrow", "flow", "bobs_own"))
    assert "may not run flow" in db.fails(db.run("borrows"))
    # Nor does a definer function of bob's give more than what it does.
    db.as_role("bob", f"create function app.lends(i jsonb) returns jsonb language sql security definer as $$select pgflow.get_run({run}) -> 'run' -> 'status'$$")
    db.flow("lent", step("s", "sql", "app.lends"))
    assert db.completes(db.run("lent")) == "started"
    # With her own she does as she likes.
    db.sql_flow("tidies", "return to_jsonb((pgflow.cancel_run((i->'run'->>'id')::uuid)).status);")
    assert db.completes(db.run("tidies", {"id": child})) == "cancelled"


@test
def a_function_with_a_role_of_its_own_is_refused(db):
    # Of which alice is a member: what refuses is that handlers may not change roles.
    db.rows("""create role gamma; grant gamma to alice;
               create function app.climbs(i jsonb) returns jsonb language sql as 'select to_jsonb(current_user)';
               alter function app.climbs set role = 'gamma'""")
    db.flow("climbs", step("s", "sql", "app.climbs", max_attempts=1))
    assert "SQLSTATE 42501" in db.fails(db.run("climbs"))


@test
def a_deferred_trigger_runs_as_the_owner(db):
    # The trigger belongs to bob, whose table it is; what it does, it does as whoever inserted.
    db.as_role("bob", """
        create table app.late (who name, session name, super text);
        create table app.later (task text);
        grant insert on app.later, app.late to alice;
        create function app.note() returns trigger language plpgsql as $$
          begin insert into app.late values (current_user, session_user, current_setting('is_superuser')); return null; end $$;
        create constraint trigger note after insert on app.later deferrable initially deferred for each row execute function app.note()""")
    db.sql_flow("defers", "insert into app.later values ('x'); return '1';")
    db.completes(db.run("defers"))
    assert db.rows("select * from app.late") == [["alice", "alice", "off"]]


@test
def an_error_of_a_deferred_trigger_fails_the_attempt(db):
    db.rows("""
        create table app.kept (n int primary key); grant all on app.kept to alice;
        create table app.keeps (n int references app.kept deferrable initially deferred); grant all on app.keeps to alice""")
    db.sql_flow("dangles", "insert into app.keeps values (1); insert into app.ledger values ('dangles'); return '1';", max_attempts=1)
    run = db.run("dangles")
    message = db.fails(run)
    assert "SQLSTATE 23503" in message, message
    assert db.ledger("dangles") == [] and db.attempts(run) == ["failed"]


@test
def nothing_of_a_handlers_session_is_left_for_another_owners(db):
    # On one worker, so that it is the same session.
    db.cluster.configure(pgflow_workers_per_database=1)
    try:
        eventually(lambda: len(db.workers("sql")) == 1, "one worker is left")
        db.sql_flow("leaves", """
            create temp table left_behind (secret text); insert into left_behind values ('alices');
            perform set_config('app.secret', 'alices', false); set search_path = app; set work_mem = '1MB';
            execute 'prepare left_behind as select 1';
            perform pg_advisory_lock(4711);
            execute 'declare left_open cursor with hold for select 1';
            return to_jsonb(pg_backend_pid());""")
        found = """return jsonb_build_object('pid', pg_backend_pid(),
            'temp', (select count(*) from pg_class where relname = 'left_behind'),
            'secret', coalesce(current_setting('app.secret', true), ''), 'path', current_setting('search_path'), 'work_mem', current_setting('work_mem'),
            'prepared', (select count(*) from pg_prepared_statements where name = 'left_behind'),
            'locks', (select count(*) from pg_locks where locktype = 'advisory' and objid = 4711),
            'cursors', (select count(*) from pg_cursors));"""
        db.sql_flow("finds", found, owner="bob")
        pid = db.completes(db.run("leaves"))
        left = db.completes(db.run("finds", owner="bob"))
        assert left == {"pid": pid, "temp": 0, "secret": "", "path": "pg_catalog, pg_temp", "work_mem": "4MB", "prepared": 0, "locks": 0, "cursors": 0}, left
    finally:
        db.cluster.configure(pgflow_workers_per_database=None)


@test
def settings_of_one_task_are_not_those_of_the_next(db):
    db.handler("sets", """r := jsonb_build_array(coalesce(current_setting('app.n', true), ''), current_setting('work_mem'));
        perform set_config('app.n', i->>'index', false); set work_mem = '64kB'; return r;""", declare="r jsonb;")
    db.flow("sets", step("m", "sql", "app.sets", step_type="map"))
    found = db.completes(db.run("sets", list(range(100))), 20)
    assert {json.dumps(one) for one in found} == {'["", "4MB"]'}, found


@test
def settings_made_at_the_commit_do_not_last(db):
    # A trigger that is deferred runs when the handler's settings have been undone; so does the query of a held cursor.
    db.cluster.configure(pgflow_workers_per_database=1)
    try:
        eventually(lambda: len(db.workers("sql")) == 1, "one worker is left")
        db.rows("""
            create table app.stays (n int); grant all on app.stays to alice;
            create function app.stay() returns trigger language plpgsql as $$
              begin set search_path = app, pg_catalog; set work_mem = '64kB'; set default_transaction_read_only = on;
              perform set_config('app.secret', 'alices', false); return null; end $$;
            create constraint trigger stay after insert on app.stays deferrable initially deferred for each row execute function app.stay();
            create function app.stay_too() returns text language sql volatile as $$select set_config('app.secret', 'alices', false)$$""")
        db.sql_flow("stays", """insert into app.stays values (1);
            execute 'declare held cursor with hold for select app.stay_too()'; return to_jsonb(pg_backend_pid());""")
        db.sql_flow("meets", """return jsonb_build_object('pid', pg_backend_pid(), 'path', current_setting('search_path'),
            'work_mem', current_setting('work_mem'), 'read_only', current_setting('transaction_read_only'),
            'secret', coalesce(current_setting('app.secret', true), ''));""", owner="bob")
        pid = db.completes(db.run("stays"))
        found = db.completes(db.run("meets", owner="bob"))
        assert found == {"pid": pid, "path": "pg_catalog, pg_temp", "work_mem": "4MB", "read_only": "off", "secret": ""}, found
    finally:
        db.cluster.configure(pgflow_workers_per_database=None)


@test
def a_name_is_found_only_where_it_is_spelled_out(db):
    # Shadows of functions in every schema that a path could name, one of them in the owner's own temporary schema.
    db.rows("create schema alice authorization alice; create function alice.lower(text) returns text language sql as $$select 'shadow'$$")
    db.sql_flow("pinned", "create temp table runs (x int); perform from ledger; return '1';", max_attempts=1)
    assert "SQLSTATE 42P01" in db.fails(db.run("pinned"))
    db.sql_flow("pinned2", "return to_jsonb(lower('ABC'));")
    assert db.completes(db.run("pinned2")) == "abc"


@test
def only_who_may_execute_a_function_may_name_it(db):
    db.as_role("bob", """create function app.bobs(i jsonb) returns jsonb language sql as 'select i';
                         revoke execute on function app.bobs from public""")
    definition = json.dumps({"flow_slug": "lends", "steps": [step("s", "sql", "app.bobs")]})
    db.rows("set role alice")
    try:
        db.session.refuses(f"select pgflow.define_flow('{definition}')", "42501")
        db.session.refuses(f"select pgflow.define_flow('{definition.replace('app.bobs', 'app.nowhere')}')", "22023")
        db.session.refuses(f"select pgflow.define_flow('{definition.replace('app.bobs', 'pg_catalog.jsonb_typeof')}')", "22023")
    finally:
        db.rows("reset role")
