"""What clients do, and what they are told when it cannot be done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from servers import Database

from pgflow import (
    AsyncClient,
    Client,
    Conflict,
    Flow,
    InvalidValue,
    NonRetryable,
    NotAllowed,
    NotFound,
    PgflowError,
    RunCancelled,
    RunFailed,
    Worker,
)

flow = Flow("sums", base_delay=0)


@flow.step
def numbers(run: Any) -> list[int]:
    return list(range(int(run["count"])))


@flow.map(over="numbers")
def square(number: int) -> int:
    if number == 13:
        raise NonRetryable("thirteen is not squared")
    return number * number


@flow.step
def total(square: list[int]) -> int:
    return sum(square)


def test_define_run_wait(client: Client, database: Database) -> None:
    first = client.define(flow)
    assert (first.flow_slug, first.version, first.changed) == ("sums", 1, True)
    assert not client.define(flow).changed
    run = client.run(flow, {"count": 10}, key="ann")
    assert isinstance(run.run_id, UUID)
    assert run.status() == "started"
    with Worker(database.conninfo, [flow]):
        assert run.wait(timeout=10) == {"total": 285}
        assert client.run("sums", {"count": 0}).wait(timeout=10) == {"total": 0}
    state = run.state()
    assert (state.status, state.key, state.payload, state.flow_version) == ("completed", "ann", {"count": 10}, 1)
    assert list(state.steps) == ["numbers", "square", "total"]
    square = state.steps["square"]
    assert (square.completed_tasks, square.initial_tasks, square.step_type, square.deps_slugs) == (
        10,
        10,
        "map",
        ("numbers",),
    )
    assert square.output == [n * n for n in range(10)]
    assert state.finished_at is not None and state.created_at is not None and state.finished_at > state.created_at
    assert run.svg().startswith("<svg")


def test_the_server_takes_every_option(client: Client, database: Database) -> None:
    flow = Flow(
        "all",
        description="d",
        max_attempts=2,
        base_delay=1,
        max_delay=9,
        timeout=7,
        run_timeout=99,
        output_step_slug="last",
    )

    @flow.step(
        max_attempts=4,
        base_delay=3,
        timeout=2,
        start_delay=1,
        required_input_pattern={"a": 1},
        forbidden_input_pattern={"b": 1},
        when_unmet="skip-cascade",
        when_exhausted="skip",
        queue="q",
        start_mode="manual",
    )
    def first(run: Any) -> None: ...

    database.rows("CREATE FUNCTION f(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT input'")
    flow.sql("sql", "public.f", depends_on=["first"])
    flow.http("http", "https://example.com", over="sql")
    flow.flow("child", "other", depends_on=["http"])
    flow.external("external", target="e", depends_on=["child"])
    flow.timer("timer", target="/run/at", depends_on=["external"])
    flow.declare("last", depends_on=["timer", "first"])
    assert client.define(flow).changed
    assert not client.define(flow).changed
    assert not client.define(flow.definition()).changed


def test_idempotency_keys_and_many_runs(client: Client) -> None:
    client.define(flow)
    assert (
        client.run(flow, {"count": 1}, idempotency_key="k").run_id
        == client.run(flow, {"count": 2}, idempotency_key="k").run_id
    )
    many = client.run_many(
        flow, [{"count": n} for n in range(50)], idempotency_keys=[None, *(f"n{n}" for n in range(49))]
    )
    assert [run.state().payload["count"] for run in many] == list(range(50))
    assert client.run_many(flow, []) == []
    assert client.handle(str(many[3].run_id)).run_id == many[3].run_id


def test_a_run_of_later_is_pending(client: Client) -> None:
    client.define(flow)
    assert client.run(flow, start_at=datetime.now(UTC) + timedelta(hours=1), priority=5).status() == "pending"


def test_a_time_without_a_time_zone_is_refused(client: Client, database: Database) -> None:
    client.define(flow)

    class Nowhere(tzinfo):
        def utcoffset(self, moment: datetime | None) -> None:
            return None

        dst = tzname = utcoffset

    for naive in (datetime(2100, 1, 1), datetime(2100, 1, 1, tzinfo=Nowhere())):
        with pytest.raises(ValueError, match="has no time zone"):
            client.run(flow, start_at=naive)
    assert database.value("SELECT count(*) FROM pgflow.runs") == 0
    client.run(flow, start_at=datetime(2100, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    assert database.value("SELECT start_at FROM pgflow.runs") == datetime(2099, 12, 31, 22, tzinfo=UTC)


def test_waiting_for_what_fails_is_cancelled_or_takes_too_long(client: Client, database: Database) -> None:
    client.define(flow)
    late = client.run(flow, {"count": 3})
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.1 s"):
        late.wait(timeout=0.1)
    assert late.cancel("enough") == "cancelled"
    with pytest.raises(RunCancelled) as cancelled:
        late.wait(timeout=5)
    assert (cancelled.value.status, cancelled.value.message, cancelled.value.step_slug) == ("cancelled", "enough", None)

    with Worker(database.conninfo, [flow]):
        bad = client.run(flow, {"count": 14})
        with pytest.raises(RunFailed) as failed:
            bad.wait(timeout=10)
        assert not isinstance(failed.value, RunCancelled)
        assert (failed.value.run_id, failed.value.flow_slug, failed.value.step_slug) == (bad.run_id, "sums", "square")
        assert failed.value.message is not None and "thirteen is not squared" in failed.value.message
        assert "in step square: " in str(failed.value)
        # What a failed run can still do.
        assert bad.cancel() == "failed"
        with pytest.raises(RunFailed):
            bad.fork(["numbers"]).wait(timeout=10)
        assert bad.fork(["numbers"], {"count": 2}).wait(timeout=10) == {"total": 1}
        assert late.retry() == "started"
        assert late.wait(timeout=10) == {"total": 5}
        with pytest.raises(Conflict, match="neither failed nor cancelled"):
            late.retry()


def test_steps_that_wait_for_somebody(client: Client, database: Database) -> None:
    flow = Flow("approval")
    flow.external("approve", target="approved")

    @flow.step(start_mode="manual")
    def ship(approve: Any) -> Any:
        return approve

    client.define(flow)
    with Worker(database.conninfo, [flow]):
        run = client.run(flow, key="order-1")
        with pytest.raises(Conflict) as waits:
            run.start_step("ship")
        assert waits.value.detail is not None and "approve" in waits.value.detail
        assert client.send_event("approved", {"by": "ann"}, key="order-2") == 0
        assert client.send_event("approved", {"by": "ann"}, key="order-1") == 1
        assert run.start_step("ship") == "started"
        assert run.wait(timeout=10) == {"ship": {"by": "ann"}}

        run = client.run(flow)
        assert run.complete_step("approve", [1])
        assert not run.complete_step("approve", [2])
        run.start_step("ship")
        assert run.wait(timeout=10) == {"ship": [1]}

        run = client.run(flow)
        assert run.fail_step("approve", "too dear")
        with pytest.raises(RunFailed, match="too dear"):
            run.wait(timeout=10)


def test_refusals_are_exceptions_that_say_what_to_do(client: Client, database: Database) -> None:
    with pytest.raises(NotFound) as unknown:
        client.run("mial")
    assert (unknown.value.sqlstate, unknown.value.message, unknown.value.detail) == (
        "PT404",
        "flow not found",
        'There is no flow "mial".',
    )
    assert 'There is no flow "mial".' in str(unknown.value)
    for look in (client.handle(uuid4()).wait, client.handle(uuid4()).status, client.handle(uuid4()).state):
        with pytest.raises(NotFound):
            look()
    with pytest.raises(InvalidValue) as wrong:
        client.define({"flow_slug": "x", "stesp": [], "steps": [{"step_slug": "a", "deps_slugs": ["b"]}]})
    assert wrong.value.detail is not None and "$.stesp" in wrong.value.detail and "unknown dep" in wrong.value.detail
    database.rows("CREATE ROLE python_nobody LOGIN")
    try:
        with (
            pytest.raises(NotAllowed),
            Client(database.conninfo.replace("user=postgres", "user=python_nobody")) as nobody,
        ):
            nobody.run("sums")
    finally:
        database.rows("DROP ROLE python_nobody")
    with pytest.raises(ValueError):
        client.run(flow, {"x": float("nan")})


def test_a_connection_of_ones_own_keeps_its_transaction(client: Client, database: Database) -> None:
    client.define(flow)
    with psycopg.connect(database.conninfo, row_factory=dict_row) as connection:
        mine = Client(connection)
        gone = mine.run(flow, {"count": 1})
        assert gone.status() == "started"
        with pytest.raises(PgflowError, match="commit first"):
            gone.wait(timeout=1)
        connection.rollback()
        with pytest.raises(NotFound):
            gone.wait(timeout=1)
        kept = mine.run(flow, {"count": 3})
        connection.commit()
        with Worker(database.conninfo, [flow]):
            assert kept.wait(timeout=10) == {"total": 5}
        mine.close()
        assert not connection.closed


@pytest.mark.parametrize("autocommit", [True, False])
def test_calls_take_turns_on_a_connection_of_ones_own(client: Client, database: Database, autocommit: bool) -> None:
    client.define(flow)

    async def program() -> None:
        async with await psycopg.AsyncConnection.connect(database.conninfo, autocommit=autocommit) as connection:
            # Two clients on one connection are no different.
            mine, same = AsyncClient(connection), AsyncClient(connection)
            runs = await mine.run_many(flow, [{"count": n} for n in range(10)])
            await connection.commit()
            waiting = asyncio.gather(
                *(run.wait(timeout=20) for run in runs), *(same.handle(run.run_id).wait(timeout=20) for run in runs)
            )
            with Worker(database.conninfo, [flow]):
                assert await waiting == [{"total": sum(n * n for n in range(count))} for count in range(10)] * 2
            # What is done while another waits is neither committed nor rolled back by that.
            late = await mine.run(flow, {"count": 1})
            await connection.commit()
            results = await asyncio.gather(
                late.wait(timeout=0.5), *(same.run(flow, {"count": 1}) for _ in range(20)), return_exceptions=True
            )
            assert isinstance(results[0], TimeoutError)
            await connection.rollback()
            assert database.value("SELECT count(*) FROM pgflow.runs") == (31 if autocommit else 11)
            if not autocommit:
                await mine.run(flow, {"count": 1})
                with pytest.raises(PgflowError, match="commit first"):
                    await late.wait(timeout=1)

    asyncio.run(program())


def test_a_client_connects_again(client: Client, database: Database) -> None:
    client.define(flow)
    run = client.run(flow, {"count": 1})
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgflow client'"
    database.rows(end)
    assert run.status() == "started"
    database.rows(end)
    with pytest.raises(psycopg.OperationalError):
        client.run(flow)  # who knows whether it arrived
    client.run(flow)


def test_the_async_client_does_the_same(database: Database) -> None:
    async def program() -> None:
        async with AsyncClient(database.conninfo) as client:
            assert (await client.define(flow)).changed
            worker = Worker(database.conninfo, [flow])
            working = asyncio.create_task(worker.run_async())
            run = await client.run(flow, {"count": 4}, key="k", idempotency_key="i")
            assert await run.wait(timeout=10) == {"total": 14}
            assert (await run.state()).steps["total"].output == 14
            assert await run.status() == "completed"
            runs = await client.run_many(flow, [{"count": n} for n in range(10)])
            outputs = await asyncio.gather(*(run.wait(timeout=10) for run in runs))
            assert outputs == [{"total": sum(n * n for n in range(count))} for count in range(10)]
            bad = await client.run(flow, {"count": 20})
            with pytest.raises(RunFailed, match="thirteen"):
                await bad.wait(timeout=10)
            with pytest.raises(Conflict):
                await run.retry()
            assert await bad.retry() == "started"
            assert await bad.cancel("x") in ("cancelled", "failed")
            fork = await client.handle(bad.run_id).fork(["numbers"], {"count": 1})
            assert await fork.wait(timeout=10) == {"total": 0}
            assert (await run.svg()).startswith("<svg")
            with pytest.raises(NotFound):
                await client.handle(uuid4()).wait()
            assert await client.send_event("e") == 0
            worker.stop()
            await asyncio.wait_for(working, 10)

    asyncio.run(program())
