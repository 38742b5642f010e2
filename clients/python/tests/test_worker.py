"""What becomes of tasks in the hands of a worker."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from servers import Database, eventually

from pgflow import (
    Client,
    Context,
    DefinitionError,
    Flow,
    NonRetryable,
    NotAllowed,
    RetryAfter,
    RunFailed,
    TaskCancelled,
    Worker,
)
from pgflow.encoding import encode
from pgflow.link import Link
from pgflow.shift import Shift

ATTEMPTS = """
SELECT attempt, status, error_message FROM pgflow.step_tasks WHERE run_id = %s ORDER BY step_slug, task_index, attempt
"""


def attempts(database: Database, run_id: UUID) -> list[tuple[int, str, str | None]]:
    return database.rows(ATTEMPTS, run_id)


def test_handlers_get_what_they_name(client: Client, database: Database) -> None:
    flow = Flow("f")
    seen: list[Context] = []

    @flow.step
    async def split(run: Any, ctx: Context) -> list[str]:
        seen.append(ctx)
        return list(run)

    @flow.map(over="split")
    async def upper(letter: str, index: int) -> list[Any]:
        return [index, letter.upper()]

    @flow.map(over="upper", depends_on=["split"])
    def echo(pair: list[Any], *, attempt: Context) -> list[Any]:
        return [*pair, attempt.task_index, attempt.idempotency_key.endswith(f"/echo/{attempt.task_index}")]

    @flow.step(required_input_pattern={"split": ["never"]})
    def skipped(split: Any) -> int:
        return 1

    @flow.step(depends_on=["skipped"])
    def join(run: str, split: list[str], echo: Any, skipped: Any, /) -> Any:
        return [run, split, echo, skipped]

    @flow.step
    def with_default(skipped: str = "was skipped") -> str:
        return skipped

    @flow.step(depends_on=["skipped", "join"])
    def rest(split: Any, **others: Any) -> list[str]:
        return sorted(others)

    client.define(flow)
    run = client.run(flow, "ab")
    with Worker(database.conninfo, [flow]) as worker:
        output = run.wait(timeout=10)
    assert output == {
        "with_default": "was skipped",
        "rest": ["join", "run"],
    }
    assert run.state().steps["join"].output == ["ab", ["a", "b"], [[0, "A", 0, True], [1, "B", 1, True]], None]
    [ctx] = seen
    assert (ctx.run_id, ctx.flow_slug, ctx.step_slug, ctx.task_index, ctx.attempt) == (run.run_id, "f", "split", 0, 1)
    assert ctx.worker_id == worker.worker_id
    assert ctx.idempotency_key == f"{run.run_id}/split/0"
    assert not ctx.cancelled.is_set()


def test_blocking_handlers_run_side_by_side_and_beside_coroutines(client: Client, database: Database) -> None:
    flow = Flow("f")
    met = threading.Barrier(4, timeout=10)
    beats = 0

    @flow.map(over="run")
    def blocks(item: int) -> int:
        # Passed only if four of them are here at once.
        return met.wait() * 0 + item

    @flow.step(queue="beats")
    async def beat() -> None:
        nonlocal beats
        while met.n_waiting or beats < 5:
            await asyncio.sleep(0.01)
            beats += 1

    client.define(flow)
    with Worker(database.conninfo, [flow], concurrency=5):
        assert client.run(flow, [1, 2, 3, 4]).wait(timeout=15) == {"blocks": [1, 2, 3, 4], "beat": None}
    assert beats >= 5


def test_a_coroutine_may_come_from_an_ordinary_function(client: Client, database: Database) -> None:
    flow = Flow("f")

    async def later(value: int) -> int:
        await asyncio.sleep(0.01)
        return value

    @flow.step
    def sooner(run: int) -> Any:
        return later(run + 1)

    client.define(flow)
    with Worker(database.conninfo, [flow]):
        assert client.run(flow, 1).wait(timeout=10) == {"sooner": 2}


def test_context_variables_do_not_leak_from_task_to_task(client: Client, database: Database) -> None:
    flow = Flow("f")
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")

    def move_in() -> str:
        found = tenant.get()
        tenant.set("somebody")
        return found

    async def later() -> list[str]:
        return [tenant.get(), move_in()]

    @flow.map(over="run")
    async def coroutine(item: int) -> str:
        return move_in()

    @flow.map(over="run")
    def thread(item: int) -> str:
        return move_in()

    @flow.map(over="run")
    def both(item: int) -> Any:
        move_in()
        return later()

    client.define(flow)
    with Worker(database.conninfo, [flow], concurrency=1):
        output = client.run(flow, list(range(20))).wait(timeout=10)
    assert output == {
        "coroutine": ["nobody"] * 20,
        "thread": ["nobody"] * 20,
        # One task is in one context, whatever it is made of.
        "both": [["somebody", "somebody"]] * 20,
    }


def test_an_error_is_a_failed_attempt_and_says_where(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=3, base_delay=0)

    def fails() -> None:
        raise KeyError("no such thing")

    @flow.step
    def sync(run: Any, ctx: Context) -> int:
        if ctx.attempt < 3:
            fails()
        return ctx.attempt

    @flow.step
    async def coroutine(sync: int, ctx: Context) -> int:
        if ctx.attempt < 2:
            raise SystemExit("leave me alone")
        if ctx.attempt < 3:
            raise asyncio.CancelledError
        return sync + ctx.attempt

    client.define(flow)
    run = client.run(flow)
    with Worker(database.conninfo, [flow], poll_interval=0.1):
        assert run.wait(timeout=10) == {"coroutine": 6}
    rows = attempts(database, run.run_id)
    assert [(attempt, status) for attempt, status, _ in rows] == [(1, "failed"), (2, "failed"), (3, "completed")] * 2
    messages = [message or "" for _, _, message in rows]
    assert messages[0].startswith("SystemExit: leave me alone\n  at coroutine (")
    assert messages[1].startswith("CancelledError\n")
    lines = messages[3].splitlines()
    assert lines[0] == "KeyError: 'no such thing'"
    assert "at sync (" in lines[1] and "at fails (" in lines[2] and 'raise KeyError("no such thing")' in lines[2]


def test_whatever_is_raised_ends_the_attempt(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=1)

    class Busy(RetryAfter):
        def __init__(self) -> None:
            Exception.__init__(self, "busy")

    class Unspeakable(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            raise ValueError("no")

    @flow.step(when_exhausted="skip")
    async def closes(run: Any) -> None:
        raise GeneratorExit

    @flow.step(when_exhausted="skip")
    def closes_in_thread(run: Any) -> None:
        raise GeneratorExit

    @flow.step(when_exhausted="skip")
    async def forgets(run: Any) -> None:
        raise Busy

    @flow.step(when_exhausted="skip")
    def forgets_in_thread(run: Any) -> None:
        raise Busy

    @flow.step(when_exhausted="skip")
    async def unspeakable(run: Any) -> None:
        raise Unspeakable

    @flow.step(when_exhausted="skip")
    def unspeakable_in_thread(run: Any) -> None:
        raise Unspeakable

    client.define(flow)
    run = client.run(flow)
    with Worker(database.conninfo, [flow], concurrency=1):
        run.wait(timeout=10)
    messages = [(status, (message or "").partition("\n")[0]) for _, status, message in attempts(database, run.run_id)]
    expected = ("GeneratorExit", "Busy: busy", "Unspeakable")
    assert [status for status, _ in messages] == ["failed"] * 6
    assert [message.rpartition(".")[2] for _, message in messages] == [name for name in expected for _ in range(2)]


def test_a_task_that_is_lost_before_it_begins_frees_its_place(database: Database) -> None:
    flow = Flow("f")

    @flow.step
    async def only(run: Any) -> int:
        return 1

    async def lose() -> None:
        shift = Shift(Worker(database.conninfo, [flow], concurrency=1)._settings)
        row = ("0198aaaa-0000-7000-8000-000000000000", "f", "only", 0, 1, '{"run":1}', 5, 60.0)
        shift._take([row], "f", time.monotonic())
        [task] = shift._running
        shift._lose(task)
        await asyncio.sleep(0.1)
        assert not shift._running and not shift._held and not shift._ledger

    asyncio.run(lose())


def test_errors_say_whether_and_when_to_try_again(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=5, base_delay=1000)

    @flow.step
    def soon(run: Any, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise RetryAfter(0.5, "busy")
        return ctx.attempt

    @flow.step
    async def never(soon: int) -> None:
        raise NonRetryable("the order is gone")

    client.define(flow)
    run = client.run(flow)
    with Worker(database.conninfo, [flow], poll_interval=0.1), pytest.raises(RunFailed) as failed:
        run.wait(timeout=10)
    assert (failed.value.step_slug, failed.value.message) == ("never", "the order is gone")
    assert attempts(database, run.run_id) == [
        (1, "failed", "the order is gone"),
        (1, "failed", "busy"),
        (2, "completed", None),
    ]
    waited = database.value(
        "SELECT extract(epoch FROM b.started_at - a.finished_at)::float8 FROM pgflow.step_tasks a "
        "JOIN pgflow.step_tasks b USING (run_id, step_slug) "
        "WHERE a.step_slug = 'soon' AND a.attempt = 1 AND b.attempt = 2"
    )
    assert 0.9 <= waited < 8


def _circle() -> Any:
    circle: list[Any] = []
    circle.append(circle)
    return circle


BAD: dict[str, Callable[[], Any]] = {
    "a_set": lambda: {1},
    "nan": lambda: float("nan"),
    "nul": lambda: "a\0b",
    "surrogate": lambda: "\ud800",
    "a_circle": _circle,
    "bytes": lambda: b"x",
    "tuple_keys": lambda: {(1, 2): 3},
    # What only the server refuses.
    "a_number": lambda: 10**140_000,
}


@pytest.fixture
def long_numbers() -> Iterator[None]:
    """Lets Python write numbers that PostgreSQL's numeric cannot hold."""
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(most)


@pytest.mark.usefixtures("long_numbers")
def test_an_output_that_is_no_json_is_a_failed_attempt(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=2, base_delay=0)

    @flow.map(over="run", when_exhausted="skip")
    def bad(name: str, ctx: Context) -> Any:
        return BAD[name]() if ctx.attempt == 1 else name

    @flow.map(over="run", queue="neighbours")
    async def good(name: str) -> str:
        return name

    client.define(flow)
    run = client.run(flow, list(BAD))
    with Worker(database.conninfo, [flow], poll_interval=0.1):
        assert run.wait(timeout=20) == {"bad": list(BAD), "good": list(BAD)}
    messages = [message or "" for _, status, message in attempts(database, run.run_id) if status == "failed"]
    assert len(messages) == len(BAD)
    assert sum(message.startswith("the output is not JSON: ") for message in messages) == len(BAD) - 1
    assert sum(message.startswith("the output cannot be stored: ") for message in messages) == 1


def test_falsy_outputs_stay_what_they_are(client: Client, database: Database) -> None:
    flow = Flow("f")
    values: list[Any] = [0, False, "", [], {}, None, 0.0, "\\u0000", "😀", 2**60, -1.5e-7]

    @flow.map(over="run")
    def each(index: int) -> Any:
        return values[index]

    client.define(flow)
    with Worker(database.conninfo, [flow]):
        output = client.run(flow, values).wait(timeout=10)["each"]
    assert output == values
    assert [type(value) for value in output] == [type(value) for value in values]


def test_the_lease_of_a_long_handler_is_extended(client: Client, database: Database) -> None:
    flow = Flow("f", timeout=1, max_attempts=1)

    @flow.step
    def thread(run: Any) -> str:
        time.sleep(3)
        return "slept"

    @flow.step
    async def coroutine(run: Any) -> str:
        await asyncio.sleep(3)
        return "slept"

    client.define(flow)
    run = client.run(flow)
    with Worker(database.conninfo, [flow]), Worker(database.conninfo, [flow]):
        assert run.wait(timeout=10) == {"thread": "slept", "coroutine": "slept"}
    assert attempts(database, run.run_id) == [(1, "completed", None)] * 2


@pytest.mark.parametrize("listen", [True, False])
def test_an_open_transaction_holds_up_the_leases_of_its_own_run_alone(
    client: Client, database: Database, listen: bool
) -> None:
    flow = Flow("f", timeout=2)
    begun: list[str] = []

    @flow.step
    async def only(run: str) -> str:
        begun.append(run)
        await asyncio.sleep(5 if run == "free" else 8)
        return run

    client.define(flow)
    with (
        Worker(database.conninfo, [flow], listen=listen, poll_interval=0.2),
        psycopg.connect(database.conninfo) as holder,
    ):
        held = [client.run(flow, "held") for _ in range(3)]
        free = client.run(flow, "free")
        eventually(lambda: len(begun) == 4, "all of them run")
        for run in held:
            holder.execute("SELECT pgflow.cancel_run(%s)", (run.run_id,))
        assert free.wait(timeout=10) == {"only": "free"}
        assert attempts(database, free.run_id) == [(1, "completed", None)]
        holder.rollback()


def count_extensions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many tasks each statement that extends leases is."""
    counts: list[int] = []
    rows = Link.rows

    async def counted(self: Link, statement: Any, parameters: Any, **options: Any) -> Any:
        if "extend_step_task" in statement:
            counts.append(len(parameters[0]) if isinstance(parameters[0], list) else 1)
        return await rows(self, statement, parameters, **options)

    monkeypatch.setattr(Link, "rows", counted)
    return counts


@pytest.mark.parametrize("listen", [True, False])
def test_leases_that_are_due_are_extended_together(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch, listen: bool
) -> None:
    counts = count_extensions(monkeypatch)
    flow = Flow("f", timeout=2)

    @flow.map(over="run")
    async def each(item: int) -> int:
        await asyncio.sleep(5)
        return item

    client.define(flow)
    runs = client.run_many(flow, [list(range(start, start + 100)) for start in range(4)])
    with (
        Worker(database.conninfo, [flow], concurrency=400, batch_size=400, listen=listen),
        Worker(database.conninfo, [flow], poll_interval=0.2, concurrency=1, listen=listen),
    ):
        for start, run in enumerate(runs):
            assert run.wait(timeout=20) == {"each": list(range(start, start + 100))}
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1
    assert sum(counts) >= 4 * 400 * 0.9
    assert len(counts) < 40, counts


def test_one_bad_task_costs_no_other_its_lease(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counts = count_extensions(monkeypatch)
    flow, other = Flow("f", timeout=2), Flow("g", timeout=2)
    begun: list[int] = []
    cancelled: list[int] = []

    @flow.map(over="run")
    @other.map(over="run")
    async def each(item: int) -> int:
        begun.append(item)
        try:
            await asyncio.sleep(7)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    client.define(flow)
    client.define(other)
    database.rows("CREATE ROLE python_worker LOGIN")
    try:
        database.rows("SELECT pgflow.grant_access('python_worker', 'worker')")
        for queue in ("f", "g"):
            database.rows("SELECT pgflow.grant_queue(%s, 'python_worker')", queue)
        mine = database.conninfo.replace("user=postgres", "user=python_worker")
        with (
            Worker(mine, [flow, other], concurrency=310),
            psycopg.connect(database.conninfo) as holder,
        ):
            good = client.run(flow, list(range(300)))
            deleted = client.run(flow, [1000, 1001])
            forbidden = client.run(other, [2000])
            eventually(lambda: len(begun) == 303, "all of them run")
            # A task that is held, one that a trigger dislikes, a run that is gone, and a right that is missing.
            holder.execute("SELECT 1 FROM pgflow.live_tasks WHERE task_index = 3 FOR UPDATE")
            database.rows(
                "CREATE FUNCTION dislikes() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN IF new.task_index = 7 THEN RAISE 'I dislike it'; END IF; RETURN new; END $$"
            )
            database.rows(
                "CREATE TRIGGER dislikes BEFORE UPDATE ON pgflow.live_tasks FOR EACH ROW EXECUTE FUNCTION dislikes()"
            )
            deleted.cancel()
            assert database.value("SELECT pgflow.prune_runs('0 seconds', 1000)") == 1
            database.rows("SELECT pgflow.revoke_queue('g', 'python_worker')")
            for _ in range(25):
                time.sleep(0.2)
                late = "SELECT task_index FROM pgflow.live_tasks WHERE run_id = %s AND lease_expires_at < now()"
                assert {index for (index,) in database.rows(late, good.run_id)} <= {3, 7}
            holder.rollback()
            database.rows("DROP TRIGGER dislikes ON pgflow.live_tasks")
            assert good.wait(timeout=10) == {"each": list(range(300))}
            assert sorted(cancelled) == [1000, 1001, 2000]
            assert database.value("SELECT max(attempt) FROM pgflow.step_tasks WHERE run_id = %s", good.run_id) == 1
            forbidden.cancel()
    finally:
        database.rows("DROP OWNED BY python_worker")
        database.rows("DROP ROLE python_worker")
    # Once or twice one by one, and together afterwards.
    assert len(counts) < 800, len(counts)
    assert sum(count > 200 for count in counts) >= 3
    assert "the server fails at its lease: I dislike it" in caplog.text


def test_who_lost_its_task_is_told_so(client: Client, database: Database) -> None:
    flow = Flow("f", timeout=1)
    told: list[str] = []
    begun = threading.Semaphore(0)

    @flow.step
    def thread(run: Any, ctx: Context) -> str:
        begun.release()
        assert ctx.cancelled.wait(10)
        told.append("thread")
        ctx.raise_if_cancelled()
        return "not reached"

    @flow.step
    async def coroutine(run: Any) -> str:
        begun.release()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            told.append("coroutine")
            raise
        return "not reached"

    client.define(flow)
    run = client.run(flow)
    with Worker(database.conninfo, [flow], poll_interval=0.1):
        for _ in range(2):
            assert begun.acquire(timeout=10)
        run.cancel("called off")
        eventually(lambda: sorted(told) == ["coroutine", "thread"], "both were told", within=5)
        # The hands are free again.
        assert client.run(flow).cancel() == "cancelled"
    assert [status for _, status, _ in attempts(database, run.run_id)] == ["cancelled"] * 2


def test_the_result_of_who_lost_its_lease_does_not_count(client: Client, database: Database) -> None:
    flow = Flow("f", timeout=1)
    begun, go_on = threading.Event(), threading.Event()

    @flow.step
    def heedless(run: Any) -> str:
        begun.set()
        go_on.wait(10)
        return "late"

    client.define(flow)
    run = client.run(flow)
    # The worker does not look for tasks meanwhile.
    with Worker(database.conninfo, [flow], concurrency=1), psycopg.connect(database.conninfo) as thief:
        assert begun.wait(10)
        thief.execute("UPDATE pgflow.live_tasks SET lease_expires_at = clock_timestamp() - interval '1 s'")
        claim = "SELECT lease, attempt FROM pgflow.claim_step_tasks('f', lease_seconds => 60)"
        [(lease, attempt)] = thief.execute(claim).fetchall()
        thief.commit()
        assert attempt == 2
        time.sleep(1)
        go_on.set()
        time.sleep(0.5)
        assert run.status() == "started"
        database.rows("SELECT pgflow.complete_step_task(%s, 'heedless', '\"mine\"', lease => %s)", run.run_id, lease)
        assert run.wait(timeout=5) == {"heedless": "mine"}


def test_tasks_of_steps_it_does_not_know_are_given_back(
    client: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = Flow("f"), Flow("f")

    @old.step
    def known(run: Any) -> str:
        return "known"

    new.step(known)

    @new.step
    def added(run: Any) -> str:
        return "added"

    client.define(new)
    run = client.run(new)
    with Worker(database.conninfo, [old]):
        eventually(lambda: run.state().steps["known"].status == "completed", "the known step")
        eventually(lambda: "no function for f.added: given back" in caplog.text, "the message")
        assert run.state().steps["added"].status == "started"
        with Worker(database.conninfo, [new]):
            assert run.wait(timeout=10) == {"known": "known", "added": "added"}
    assert attempts(database, run.run_id) == [(1, "completed", None)] * 2


def test_a_worker_serves_several_queues(client: Client, database: Database) -> None:
    one, two = Flow("one"), Flow("two")

    @one.step(queue="heavy")
    def first(run: int) -> int:
        return run

    @one.step
    async def second(first: int) -> int:
        return first + 1

    @two.map(over="run", queue="heavy")
    def third(item: int) -> int:
        return item

    client.define(one)
    client.define(two)
    with Worker(database.conninfo, [one, two], concurrency=3) as worker:
        assert sorted(worker.queues) == ["heavy", "one"]
        runs = [client.run(one, n) for n in range(20)]
        assert client.run(two, list(range(200))).wait(timeout=10) == {"third": list(range(200))}
        assert [run.wait(timeout=10) for run in runs] == [{"second": n + 1} for n in range(20)]
    with Worker(database.conninfo, [one, two], queues=["heavy"]):
        run = client.run(one, 1)
        eventually(lambda: run.state().steps["first"].status == "completed", "the heavy step")
        time.sleep(0.2)
        assert run.state().steps["second"].status == "started"


def test_an_idle_worker_is_woken(client: Client, database: Database) -> None:
    flow = Flow("f")

    @flow.step
    def first(run: Any) -> int:
        return 1

    @flow.step
    async def second(first: int) -> int:
        return first + 1

    client.define(flow)
    took = []
    with Worker(database.conninfo, [flow], poll_interval=60):
        for pause in (0.5, 0.02, 0.005, 0.3, 0.0, 0.05):
            time.sleep(pause)
            started = time.monotonic()
            assert client.run(flow).wait(timeout=5) == {"second": 2}
            took.append(time.monotonic() - started)
    # Both steps, the notification and the look of wait(): far from a poll interval.
    assert max(took) < 5.0, took
    assert sorted(took)[len(took) // 2] < 0.5, took


def test_polling_alone_does(client: Client, database: Database) -> None:
    flow = Flow("f")

    @flow.step
    def only(run: Any) -> int:
        return 1

    client.define(flow)
    with Worker(database.conninfo, [flow], poll_interval=0.2, listen=False):
        time.sleep(0.5)
        assert client.run(flow).wait(timeout=2) == {"only": 1}
        locks = database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'")
        assert locks == 0
        assert database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'") == 0


@pytest.mark.parametrize("listen", [True, False])
def test_a_locked_run_does_not_hold_up_the_others(client: Client, database: Database, listen: bool) -> None:
    flow = Flow("f")

    @flow.map(over="run")
    async def each(item: int) -> int:
        return item

    @flow.step
    def last(each: list[int]) -> int:
        return sum(each)

    client.define(flow)
    with psycopg.connect(database.conninfo) as holder:
        locked = client.run(flow, list(range(50)))
        holder.execute("SELECT pgflow_locks.lock_run(%s)", (locked.run_id,))
        with Worker(database.conninfo, [flow], listen=listen, poll_interval=0.2):
            for _ in range(5):
                assert client.run(flow, [1, 2]).wait(timeout=20) == {"last": 3}
            assert locked.status() == "started"
            holder.commit()
            assert locked.wait(timeout=10) == {"last": sum(range(50))}
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1


def test_a_result_that_waits_keeps_its_lease(client: Client, database: Database) -> None:
    flow = Flow("f", timeout=1, max_attempts=5, base_delay=0)

    @flow.step
    async def only(run: Any, ctx: Context) -> int:
        await asyncio.sleep(0.3)
        return ctx.attempt

    client.define(flow)
    run = client.run(flow)
    with psycopg.connect(database.conninfo) as holder:
        holder.execute("SELECT pgflow_locks.lock_run(%s)", (run.run_id,))
        with Worker(database.conninfo, [flow], poll_interval=0.2):
            time.sleep(5)
            holder.commit()
            assert run.wait(timeout=10) == {"only": 1}
    assert attempts(database, run.run_id) == [(1, "completed", None)]


@pytest.mark.parametrize(("count", "size", "most"), [(4000, 10, 2500), (120, 2_000_000, 40)])
def test_no_more_is_done_than_can_be_settled(
    client: Client, database: Database, count: int, size: int, most: int
) -> None:
    flow = Flow("f")
    done = 0

    @flow.map(over="run")
    async def each(item: int) -> str:
        nonlocal done
        done += 1
        return "x" * size

    client.define(flow)
    run = client.run(flow, list(range(count)))
    with psycopg.connect(database.conninfo) as holder:
        holder.execute("SELECT pgflow_locks.lock_run(%s)", (run.run_id,))
        with Worker(database.conninfo, [flow], batch_size=1000):
            eventually(lambda: done >= most / 4, "they begin")
            time.sleep(5)
            assert done < most
            holder.commit()
            if count == 4000:
                assert len(run.wait(timeout=30)["each"]) == count
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1


@pytest.mark.parametrize("end", ["SELECT 1", "SELECT pgflow.cancel_run(%s)"])
def test_a_worker_goes_on_by_itself_when_a_lock_is_released(
    client: Client, database: Database, end: LiteralString
) -> None:
    flow = Flow("f")
    done = 0

    @flow.map(over="run")
    async def each(item: int) -> int:
        nonlocal done
        done += 1
        return item

    client.define(flow)
    locked = client.run(flow, list(range(1500)))
    # Nobody wakes it, and it does not look by itself.
    with (
        psycopg.connect(database.conninfo) as holder,
        Worker(database.conninfo, [flow], batch_size=1000, poll_interval=600, listen=False),
    ):
        holder.execute("SELECT pgflow_locks.lock_run(%s)", (locked.run_id,))
        eventually(lambda: done >= 1000, "they begin")
        time.sleep(3)
        others = client.run_many(flow, [[item] for item in range(100)])
        seen = done
        time.sleep(1)
        assert done == seen
        holder.execute(end, (locked.run_id,) if "%s" in end else ())
        holder.commit()
        for item, other in enumerate(others):
            assert other.wait(timeout=10) == {"each": [item]}
        eventually(lambda: locked.status() == ("completed" if end == "SELECT 1" else "cancelled"), "it ends")
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1


def test_many_locked_runs_do_not_hold_up_the_others(client: Client, database: Database) -> None:
    flow = Flow("f", timeout=2)

    @flow.step
    async def only(run: int) -> int:
        return run

    client.define(flow)
    locked = client.run_many(flow, range(50))
    with psycopg.connect(database.conninfo) as holder, psycopg.connect(database.conninfo) as other:
        for run in locked[:49]:
            holder.execute("SELECT pgflow_locks.lock_run(%s)", (run.run_id,))
        other.execute("SELECT pgflow_locks.lock_run(%s)", (locked[49].run_id,))
        with Worker(database.conninfo, [flow], poll_interval=0.2):
            time.sleep(1)
            free = client.run_many(flow, range(100, 150))
            for item, run in enumerate(free):
                assert run.wait(timeout=15) == {"only": 100 + item}
            # Nor does one whose lock is released wait for a turn of half a second for each of the others.
            other.commit()
            assert locked[49].wait(timeout=6) == {"only": 49}
            holder.commit()
            for item, run in enumerate(locked):
                assert run.wait(timeout=6) == {"only": item}
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1


def test_locked_runs_wait_in_turn(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=1)

    @flow.step
    async def only(run: int) -> int:
        await asyncio.sleep(0.2)
        return run * 2

    client.define(flow)
    with (
        psycopg.connect(database.conninfo) as first,
        psycopg.connect(database.conninfo) as second,
        Worker(database.conninfo, [flow]),
    ):
        runs = [client.run(flow, 1), client.run(flow, 2)]
        for holder, run in zip((first, second), runs, strict=True):
            holder.execute("SELECT pgflow_locks.lock_run(%s)", (run.run_id,))
        time.sleep(6)
        second.commit()
        assert runs[1].wait(timeout=4) == {"only": 4}
        assert runs[0].status() == "started"
        first.commit()
        assert runs[0].wait(timeout=4) == {"only": 2}


def test_a_refused_output_and_a_locked_run_in_one_call(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow("f", max_attempts=1)

    @flow.step
    async def only(run: str) -> str:
        await asyncio.sleep(0.3)
        return run

    client.define(flow)
    monkeypatch.setattr("pgflow.task.encode", lambda output: "9" * 140_000 if output == "refused" else encode(output))
    with psycopg.connect(database.conninfo) as holder:
        locked, refused, good = (client.run(flow, payload) for payload in ("locked", "refused", "good"))
        holder.execute("SELECT pgflow_locks.lock_run(%s)", (locked.run_id,))
        with Worker(database.conninfo, [flow]):
            assert good.wait(timeout=8) == {"only": "good"}
            eventually(lambda: refused.status() == "failed", "the refused one fails")
            holder.commit()
            assert locked.wait(timeout=5) == {"only": "locked"}


def test_a_result_that_the_server_fails_at_does_not_hold_up_the_others(
    client: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Flow("f", timeout=2)

    @flow.map(over="run")
    async def each(item: Any) -> Any:
        return item

    client.define(flow)
    database.rows(
        "CREATE FUNCTION dislikes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF new.output::text LIKE '%%poison%%' THEN RAISE 'I dislike it'; END IF; RETURN new; END $$"
    )
    database.rows(
        "CREATE TRIGGER dislikes BEFORE INSERT OR UPDATE ON pgflow.step_tasks FOR EACH ROW EXECUTE FUNCTION dislikes()"
    )
    poisoned = client.run(flow, ["poison", 1])
    with Worker(database.conninfo, [flow], shutdown_timeout=0.5):
        for _ in range(3):
            assert client.run(flow, [1, 2, 3]).wait(timeout=5) == {"each": [1, 2, 3]}
        time.sleep(2.5)
        assert attempts(database, poisoned.run_id) == [(1, "started", None), (1, "completed", None)]
        database.rows("DROP TRIGGER dislikes ON pgflow.step_tasks")
        assert poisoned.wait(timeout=10) == {"each": ["poison", 1]}
    assert "the server fails at its result, tried again in 1 s: I dislike it" in caplog.text


def test_a_busy_worker_makes_one_round_trip_for_a_batch(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    rows = Link.rows

    async def counted(self: Link, statement: Any, parameters: Any, **options: Any) -> Any:
        calls.append(statement)
        return await rows(self, statement, parameters, **options)

    monkeypatch.setattr(Link, "rows", counted)
    flow = Flow("f")

    @flow.map(over="run")
    async def each(item: int) -> int:
        return item

    client.define(flow)
    run = client.run(flow, list(range(5000)))
    # Even if one handler runs at a time, as these take no time.
    with Worker(database.conninfo, [flow], concurrency=1):
        assert run.wait(timeout=30) == {"each": list(range(5000))}
    assert len(calls) < 5000 / 20, len(calls)


def test_long_tasks_are_not_hoarded(client: Client, database: Database) -> None:
    flow = Flow("f")

    @flow.map(over="run")
    def each(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    client.define(flow)
    # Many short ones, which are claimed ahead, and then long ones.
    run = client.run(flow, [0.0] * 200 + [5.0] + [0.0] * 20)
    with Worker(database.conninfo, [flow], concurrency=1, worker_id="first"):
        eventually(
            lambda: database.value(
                "SELECT count(*) FROM pgflow.step_tasks WHERE task_index = 200 AND status = 'started'"
            ),
            "the long one has begun",
        )
        started = time.monotonic()
        with Worker(database.conninfo, [flow], concurrency=1, worker_id="second"):
            eventually(
                lambda: database.value("SELECT count(*) = 220 FROM pgflow.step_tasks WHERE status = 'completed'"),
                "the others are done by somebody else",
            )
            assert time.monotonic() - started < 4.5
            run.wait(timeout=10)
    assert {attempt for attempt, _, _ in attempts(database, run.run_id)} == {1}


def test_what_was_claimed_ahead_is_given_back_at_the_end(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgflow.shift._STALE", 1000.0)
    flow = Flow("f")
    begun, go_on = threading.Event(), threading.Event()

    @flow.map(over="run")
    def each(index: int) -> int:
        if index == 200:
            begun.set()
            go_on.wait(20)
        return index

    client.define(flow)
    run = client.run(flow, list(range(1000)))
    started = "SELECT count(*) FROM pgflow.step_tasks WHERE status = 'started'"
    with Worker(database.conninfo, [flow], concurrency=1) as worker:
        assert begun.wait(10)
        eventually(lambda: database.value(started) > 1, "some are claimed ahead")
        worker.stop()
        eventually(lambda: database.value(started) == 1, "all but the one that runs are given back")
        go_on.set()
    assert database.rows("SELECT status, count(*)::int FROM pgflow.step_tasks GROUP BY 1 ORDER BY 1") == [
        ("completed", 201),
        ("queued", 799),
    ]
    assert {attempt for attempt, _, _ in attempts(database, run.run_id)} == {1}


def test_a_worker_that_is_set_up_wrongly_says_so(client: Client, database: Database) -> None:
    flow = Flow("f")

    @flow.step
    def only(run: Any) -> int:
        return 1

    database.rows("CREATE ROLE python_idler LOGIN")
    database.rows("SELECT pgflow.grant_access('python_idler', 'worker')")
    try:
        with pytest.raises(NotAllowed, match='permission denied for queue "f"'):
            Worker(database.conninfo.replace("user=postgres", "user=python_idler"), [flow]).run()
    finally:
        database.rows("DROP OWNED BY python_idler")
        database.rows("DROP ROLE python_idler")
    with pytest.raises((psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName)):
        Worker(database.server.conninfo("postgres"), [flow]).run()
    for wrong in ({"concurrency": 0}, {"batch_size": 10_001}, {"poll_interval": 0}, {"lease_seconds": 0}):
        with pytest.raises(ValueError):
            Worker(database.conninfo, [flow], **wrong)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="nothing for a worker to do"):
        Worker(database.conninfo, [Flow("empty")])
    with pytest.raises(DefinitionError, match="queues"):
        Worker(database.conninfo, [flow], queues=["g"])
    flow.declare("elsewhere")
    with pytest.raises(DefinitionError, match="give it a queue of its own"):
        Worker(database.conninfo, [flow])


def test_a_worker_that_may_only_work_works(client: Client, database: Database) -> None:
    flow = Flow("f", timeout=1)

    @flow.step
    def only(run: Any) -> int:
        time.sleep(1.5)
        return 1

    client.define(flow)
    database.rows("CREATE ROLE python_worker LOGIN")
    try:
        database.rows("SELECT pgflow.grant_access('python_worker', 'worker'), pgflow.grant_queue('f', 'python_worker')")
        with Worker(database.conninfo.replace("user=postgres", "user=python_worker"), [flow], poll_interval=60):
            time.sleep(0.3)
            run = client.run(flow)
            assert run.wait(timeout=10) == {"only": 1}
        assert attempts(database, run.run_id) == [(1, "completed", None)]
    finally:
        database.rows("DROP OWNED BY python_worker")
        database.rows("DROP ROLE python_worker")


def test_a_handler_completes_in_its_own_transaction(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=3, base_delay=0)

    @flow.map(over="run")
    def pay(amount: int, ctx: Context) -> None:
        with psycopg.connect(database.conninfo) as connection:
            connection.execute("INSERT INTO payments VALUES (%s, %s)", (amount, ctx.attempt))
            ctx.complete(connection, {"paid": amount})
            if ctx.attempt == 1 and amount % 2:
                raise ConnectionError("before the commit")

    @flow.step
    async def book(pay: list[Any], ctx: Context) -> str:
        async with await psycopg.AsyncConnection.connect(database.conninfo) as connection:
            await connection.execute("INSERT INTO payments VALUES (%s, %s)", (-sum(one["paid"] for one in pay), 0))
            await ctx.complete_async(connection, "booked")
        return "does not count"

    @flow.step
    def last(book: str) -> str:
        return book

    database.rows("CREATE TABLE payments (amount int, attempt int)")
    client.define(flow)
    with Worker(database.conninfo, [flow], poll_interval=60):
        assert client.run(flow, list(range(10))).wait(timeout=10) == {"last": "booked"}
    assert database.rows("SELECT amount, attempt FROM payments ORDER BY amount") == [
        (-45, 0),
        *((amount, amount % 2 + 1) for amount in range(10)),
    ]


def test_who_rolled_its_completion_back_does_it_again(
    client: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Flow("f", timeout=60)
    times: list[int] = []

    @flow.step
    def pay(run: Any, ctx: Context) -> str:
        times.append(ctx.attempt)
        with suppress(ConnectionError), psycopg.connect(conninfo) as connection:
            ctx.complete(connection, "paid")
            if len(times) == 1:
                raise ConnectionError("before the commit")
        return "not heeded"

    client.define(flow)
    database.rows("CREATE ROLE python_worker LOGIN")
    try:
        database.rows("SELECT pgflow.grant_access('python_worker', 'worker'), pgflow.grant_queue('f', 'python_worker')")
        conninfo = database.conninfo.replace("user=postgres", "user=python_worker")
        with Worker(conninfo, [flow]):
            run = client.run(flow)
            assert run.wait(timeout=5) == {"pay": "paid"}
        assert times == [1, 1]
        assert attempts(database, run.run_id) == [(1, "completed", None)]
        assert caplog.text == ""
    finally:
        database.rows("DROP OWNED BY python_worker")
        database.rows("DROP ROLE python_worker")


def test_who_lost_its_task_cannot_complete_it(client: Client, database: Database) -> None:
    flow = Flow("f")
    raised: list[BaseException] = []

    @flow.step
    def pay(run: Any, ctx: Context) -> None:
        client.handle(ctx.run_id).cancel()
        try:
            with psycopg.connect(database.conninfo) as connection:
                connection.execute("INSERT INTO payments VALUES (1)")
                ctx.complete(connection)
        except BaseException as error:
            raised.append(error)
            raise

    database.rows("CREATE TABLE payments (amount int)")
    client.define(flow)
    with Worker(database.conninfo, [flow]):
        run = client.run(flow)
        eventually(lambda: raised, "it was told")
    assert isinstance(raised[0], TaskCancelled)
    assert database.rows("SELECT * FROM payments") == []
    assert run.status() == "cancelled"


def test_to_stop_before_it_begins_is_remembered(client: Client, database: Database) -> None:
    flow = Flow("f")

    @flow.step
    def only(run: Any) -> int:
        return 1

    client.define(flow)
    run = client.run(flow)
    worker = Worker(database.conninfo, [flow])
    worker.stop()
    asyncio.run(asyncio.wait_for(worker.run_async(), 5))
    assert attempts(database, run.run_id) == [(1, "queued", None)]
    # Once.
    with worker:
        assert run.wait(timeout=5) == {"only": 1}


def test_a_task_group_says_why_it_failed_and_heeds_the_end(client: Client, database: Database) -> None:
    flow = Flow("f", max_attempts=1)
    begun = threading.Event()

    async def part(ctx: Context) -> None:
        begun.set()
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ctx.raise_if_cancelled()
            raise

    async def fails() -> None:
        raise ValueError("no such customer")

    @flow.step
    async def parts(run: str, ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails() if run == "bad" else part(ctx))

    client.define(flow)
    with Worker(database.conninfo, [flow], shutdown_timeout=0.1):
        with pytest.raises(RunFailed, match="one of them ValueError: no such customer\n  at fails "):
            client.run(flow, "bad").wait(timeout=10)
        run = client.run(flow, "good")
        assert begun.wait(10)
    assert attempts(database, run.run_id) == [(1, "queued", None)]


def test_being_cancelled_gives_everything_back(client: Client, database: Database) -> None:
    flow = Flow("f")
    begun = threading.Event()

    @flow.map(over="run")
    async def each(item: int) -> int:
        begun.set()
        await asyncio.sleep(100)
        return item

    client.define(flow)
    run = client.run(flow, [1, 2, 3])

    async def program() -> None:
        working = asyncio.create_task(Worker(database.conninfo, [flow], concurrency=2).run_async())
        await asyncio.to_thread(begun.wait, 10)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(program())
    assert attempts(database, run.run_id) == [(1, "queued", None)] * 3
