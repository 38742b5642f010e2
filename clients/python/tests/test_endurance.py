"""Nothing is lost and nothing counts twice, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from programs import flow as load
from programs import forever, slow, start
from servers import Database, Server, eventually

from pgflow import Client, Flow, Worker
from pgflow.client import RunHandle

COUNT = 5_000  # two maps and two steps: more than 10,000 tasks


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def check(database: Database, run: RunHandle, most_attempts: int) -> None:
    """Every task is completed exactly once, with the right output."""
    assert run.wait(timeout=240) == {"total": sum(2 * n + 1 for n in range(COUNT))}
    steps = run.state().steps
    assert steps["quick"].output == [2 * n for n in range(COUNT)]
    assert steps["threaded"].output == [2 * n + 1 for n in range(COUNT)]
    assert database.rows(
        "SELECT step_slug, count(*), count(DISTINCT task_index) FROM pgflow.step_tasks WHERE status = 'completed' "
        "GROUP BY step_slug ORDER BY step_slug"
    ) == [("quick", COUNT, COUNT), ("threaded", COUNT, COUNT), ("total", 1, 1)]
    assert (
        database.rows(
            "SELECT status, count(*) FROM pgflow.step_tasks WHERE status NOT IN ('completed', 'expired') GROUP BY 1"
        )
        == []
    )
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") <= most_attempts
    assert database.rows("SELECT * FROM pgflow.check_integrity()") == []


def test_ten_thousand_tasks(client: Client, database: Database) -> None:
    client.define(load)
    run = client.run(load, list(range(COUNT)))
    with Worker(database.conninfo, [load], concurrency=50), Worker(database.conninfo, [load], concurrency=5):
        # Nobody dies, so nobody does anything twice.
        check(database, run, most_attempts=1)


def test_ten_thousand_tasks_while_workers_are_killed(
    client: Client, database: Database, processes: list[subprocess.Popen[str]]
) -> None:
    client.define(load)
    run = client.run(load, list(range(COUNT)))
    for _ in range(2):
        processes.append(start(database.conninfo, load, concurrency=4))
    kills = 0
    while kills < 5 and run.status() == "started":
        time.sleep(0.4)
        held = database.value("SELECT count(*) FROM pgflow.step_tasks WHERE status = 'started'")
        if held > 0:
            victim = processes.pop(0)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            kills += 1
            processes.append(start(database.conninfo, load, concurrency=4))
    check(database, run, most_attempts=20)
    assert kills >= 3, "they were killed while they had work"
    assert database.value("SELECT count(*) FROM pgflow.step_tasks WHERE status = 'expired'") > 0


def test_ten_thousand_tasks_while_the_server_crashes(
    fragile_server: Server, fragile_database: Database, processes: list[subprocess.Popen[str]]
) -> None:
    database = fragile_database
    with Client(database.conninfo) as client:
        client.define(load)
        run = client.run(load, list(range(COUNT)))
    processes.append(start(database.conninfo, load, concurrency=4))
    outcome: list[object] = []

    def wait() -> None:
        with Client(database.conninfo) as waiting:
            outcome.append(waiting.handle(run.run_id).wait(timeout=240))

    with Client(database.conninfo) as client, Worker(database.conninfo, [load], concurrency=4):
        waiter = threading.Thread(target=wait)
        waiter.start()
        crashes = 0
        while crashes < 6:
            time.sleep(0.2)
            # In the middle of it, or not at all.
            if client.handle(run.run_id).status() != "started":
                break
            fragile_server.restart_at_once()
            crashes += 1
        assert crashes >= 2, "it crashed in the middle of it"
        check(database, client.handle(run.run_id), most_attempts=20)
        waiter.join()
    assert outcome == [{"total": sum(2 * n + 1 for n in range(COUNT))}]
    assert processes[0].poll() is None, "the worker outlived it"


def test_a_result_waits_until_the_server_is_back(fragile_server: Server, fragile_database: Database) -> None:
    """The handler ends while nobody is there to be told; it is not done again."""
    database = fragile_database
    began, go_on = threading.Event(), threading.Event()
    flow = Flow("patient", timeout=60, max_attempts=1)

    @flow.step
    def only(run: object) -> str:
        began.set()
        go_on.wait(20)
        return "kept"

    with Client(database.conninfo) as client:
        client.define(flow)
        run = client.run(flow)
        with Worker(database.conninfo, [flow]):
            assert began.wait(10)
            fragile_server.control("stop", "-m", "immediate")
            try:
                go_on.set()
                time.sleep(1)
            finally:
                fragile_server.control("start")
            assert run.wait(timeout=30) == {"only": "kept"}
    assert database.rows("SELECT attempt, status FROM pgflow.step_tasks") == [(1, "completed")]


def calls(database: Database, what: str) -> int:
    return int(database.value("SELECT count(*) FROM calls WHERE what = %s", what))


@pytest.fixture
def noting(database: Database) -> Database:
    database.rows("CREATE TABLE calls (step_slug text, task_index int, attempt int, what text)")
    return database


def test_sigterm_in_the_middle_of_a_batch(
    client: Client, noting: Database, processes: list[subprocess.Popen[str]]
) -> None:
    """What runs is finished, what waits its turn is given back, and no attempt is burnt."""
    client.define(slow)
    run = client.run(slow, [1.5] * 10)
    first = start(noting.conninfo, slow, concurrency=3)
    processes.append(first)
    eventually(lambda: calls(noting, "began") == 3, "three have begun")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=20) == 0
    assert "returned" in first.communicate()[1]
    assert calls(noting, "ended") == 3
    tasks = noting.rows("SELECT status, attempt, count(*)::int FROM pgflow.step_tasks GROUP BY 1, 2 ORDER BY 1")
    assert tasks == [("completed", 1, 3), ("queued", 1, 7)]
    processes.append(start(noting.conninfo, slow, concurrency=10))
    assert run.wait(timeout=20) == {"after": 10}
    assert noting.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1
    assert calls(noting, "began") == 10


def test_sigterm_and_no_more_patience(client: Client, noting: Database, processes: list[subprocess.Popen[str]]) -> None:
    """Handlers that heed the context stop at the deadline; their tasks are ready again at once."""
    client.define(slow)
    client.run(slow, [-60.0, -60.0])
    worker = start(noting.conninfo, slow, shutdown_timeout=0.5)
    processes.append(worker)
    eventually(lambda: calls(noting, "began") == 2, "both have begun")
    began = time.monotonic()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=20) == 0
    assert 0.4 < time.monotonic() - began < 20
    assert calls(noting, "ended") == 0
    assert noting.rows("SELECT status, attempt FROM pgflow.step_tasks") == [("queued", 1)] * 2


def test_a_second_signal_and_handlers_that_never_end(
    client: Client, noting: Database, processes: list[subprocess.Popen[str]]
) -> None:
    """Threads that hang and coroutines that swallow their cancellation do not keep the process."""
    client.define(forever)
    client.run(forever)
    worker = start(noting.conninfo, forever)
    processes.append(worker)
    eventually(lambda: calls(noting, "began") == 2, "both have begun")
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    eventually(
        lambda: noting.rows("SELECT status, attempt FROM pgflow.step_tasks") == [("queued", 1)] * 2,
        "both are given back",
    )
    worker.wait(timeout=20)


def test_a_killed_worker_loses_the_lease_and_not_the_task(
    client: Client, noting: Database, processes: list[subprocess.Popen[str]]
) -> None:
    client.define(slow)
    run = client.run(slow, [0.5, 0.5])
    worker = start(noting.conninfo, slow)
    processes.append(worker)
    eventually(lambda: calls(noting, "began") == 2, "both have begun")
    os.kill(worker.pid, signal.SIGKILL)
    processes.append(start(noting.conninfo, slow))
    assert run.wait(timeout=20) == {"after": 2}
    assert noting.rows("SELECT attempt, status, count(*)::int FROM pgflow.step_tasks GROUP BY 1, 2 ORDER BY 1, 2") == [
        (1, "completed", 1),
        (1, "expired", 2),
        (2, "completed", 2),
    ]
