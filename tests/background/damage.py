"""What is broken in one place stops nothing elsewhere."""
import endpoint
from harness import Database, eventually, step, test


@test
def a_part_that_fails_stops_no_other(db):
    start = db.cluster.log_size()
    other = Database.create(db.cluster, "damaged")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    main = other.workers("main")
    other.rows("alter table pgflow.schedules rename to mislaid")
    eventually(lambda: "pgflow main: schedules: " in db.cluster.log(start), "the log says so", within=7)
    other.sql_flow("goes_on", "return '1';")
    other.flow("goes_on_too", step("t", "timer", start_delay=1), step("h", "http", endpoint.server().url("/echo")))
    runs = [other.run("goes_on"), other.run("goes_on_too")]
    for run in runs:
        other.completes(run)
    assert other.workers("main") == main
    # Told once a second, not at every look.
    assert db.cluster.log(start).count("pgflow main: schedules: ") < 15
    other.close()
    db.rows("drop database damaged")


@test
def secrets_that_are_gone_stop_only_requests(db):
    start = db.cluster.log_size()
    other = Database.create(db.cluster, "secretless")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    other.rows("alter table pgflow.http_secrets rename to mislaid")
    other.flow("unsigned", step("s", "http", endpoint.server().url("/echo"), max_attempts=1))
    assert "http_secrets" in other.fails(other.run("unsigned"))
    other.flow("unharmed", step("t", "timer", start_delay=1))
    other.completes(other.run("unharmed"))
    assert "panicked" not in db.cluster.log(start)
    other.close()
    db.rows("drop database secretless")


@test
def a_queue_that_cannot_be_claimed_from_holds_up_no_other(db):
    other = Database.create(db.cluster, "unclaimable")
    eventually(lambda: len(other.workers()) == 3, "they are there", within=5)
    other.sql_flow("fine", "return '1';")
    for executor, target in (("sql", "app.fine"), ("http", endpoint.server().url("/echo"))):
        # A bad row: the definition that its tasks need is not there.
        other.flow("a_" + executor, step("s", executor, target))
        other.cluster.configure(pgflow_workers_per_database=0)
        other.rows(f"""begin; select pgflow.run_flow('a_{executor}');
                       alter table pgflow.runs disable trigger all; alter table pgflow.steps disable trigger all; alter table pgflow.flow_versions disable trigger all;
                       delete from pgflow.steps where flow_slug = 'a_{executor}';
                       delete from pgflow.flow_versions where flow_slug = 'a_{executor}';
                       commit""")
    other.cluster.configure(pgflow_workers_per_database=None)
    other.flow("z_fine", step("t", "timer", start_delay=1), step("s", "sql", "app.fine", deps_slugs=["t"]),
               step("h", "http", endpoint.server().url("/echo"), deps_slugs=["s"]))
    other.completes(other.run("z_fine"), within=15)
    other.close()
    db.rows("drop database unclaimable")
