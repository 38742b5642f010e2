"""Clients: define flows, start runs, wait for them and look after them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from . import calls
from .calls import Call, Definition
from .connecting import complete
from .errors import PgflowError, refusals
from .flow import Flow
from .state import RunState

T = TypeVar("T")
_APPLICATION = "pgflow client"
_FIRST_LOOK, _LAST_LOOK = 0.01, 0.5
# Whose turn it is on connections that are not ours, which several clients may have.
_turns: WeakKeyDictionary[psycopg.AsyncConnection[Any], asyncio.Lock] = WeakKeyDictionary()


class _Patience:
    """When to look again, and when no more."""

    def __init__(self, run_id: UUID, timeout: float | None) -> None:
        self._run_id = run_id
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._pause = _FIRST_LOOK

    def next(self) -> float:
        """Seconds until the next look. Raises TimeoutError when there is none."""
        pause, self._pause = self._pause, min(self._pause * 1.3, _LAST_LOOK)
        if self._deadline is None:
            return pause
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"run {self._run_id} has not ended within {self._timeout} s")
        return min(pause, left)


def _uncommitted(run_id: UUID) -> PgflowError:
    return PgflowError(
        f"waiting for run {run_id} in an open transaction: if it was started in there, no worker sees it; commit first"
    )


class Client:
    """Speaks to pgflow in a database.

    `connection` is a libpq connection string or URL (what it leaves out stands in PGHOST and so on), or a connection of
    yours. With a string the client connects when it must, and again after a lost connection; each call is a transaction
    of its own, and threads may share the client. With a connection of yours the calls are part of your transaction, so
    that a run is started only if you commit. `prepare=False` is for connection poolers in transaction mode: no prepared
    statements.

    Methods raise a `Refused` for what pgflow refuses, and exceptions of psycopg for what else goes wrong.
    """

    def __init__(self, connection: str | psycopg.Connection[Any] = "", *, prepare: bool = True) -> None:
        self._guard = threading.Lock()
        self._prepare_threshold = 5 if prepare else None
        self._conninfo = complete(connection, _APPLICATION) if isinstance(connection, str) else None
        self._connection = None if isinstance(connection, str) else connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection, if it is not yours. The next call would make a new one."""
        with self._guard:
            if self._conninfo is not None and self._connection is not None:
                self._connection.close()
                self._connection = None

    def define(self, flow: Flow | dict[str, Any]) -> Definition:
        """Defines a flow, or changes it to this; the same again changes nothing, so programs may do it when they start.

        Raises `InvalidValue` with everything that is wrong with it in `detail`.
        """
        return self._do(calls.define(flow))

    def run(
        self,
        flow: str | Flow,
        payload: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        priority: int = 0,
        start_at: datetime | None = None,
    ) -> RunHandle:
        """Starts a run.

        `payload` is what JSON can say; None is `{}`. A second call with the same `idempotency_key` returns the first
        one's run and starts nothing. `key` is a name of yours for limits and events (a tenant, an order). Runs of a
        higher `priority` come first. With `start_at`, which has a time zone, the run starts then. Raises `NotFound` for
        an unknown flow.
        """
        return RunHandle(self, self._do(calls.run(flow, payload, key, idempotency_key, priority, start_at)))

    def run_many(
        self,
        flow: str | Flow,
        payloads: Iterable[Any],
        *,
        idempotency_keys: Iterable[str | None] | None = None,
        priority: int = 0,
    ) -> list[RunHandle]:
        """Starts a run for each payload, up to 100,000 in a call, in one transaction; handles in the same order."""
        return [
            RunHandle(self, run_id) for run_id in self._do(calls.run_many(flow, payloads, idempotency_keys, priority))
        ]

    def handle(self, run_id: UUID | str) -> RunHandle:
        """The handle of a run that exists; asks nobody."""
        return RunHandle(self, run_id if isinstance(run_id, UUID) else UUID(run_id))

    def send_event(self, name: str, payload: Any = None, *, key: str | None = None) -> int:
        """Sends an event to the external steps that wait for it in runs with that `key`; says how many took it."""
        return self._do(calls.send_event(name, payload, key))

    def _do(self, call: Call[T]) -> T:
        with refusals():
            try:
                return self._ask(call)
            except psycopg.OperationalError:
                if self._conninfo is None or not call.repeatable or not self._is_lost():
                    raise
                return self._ask(call)

    def _ask(self, call: Call[T]) -> T:
        with self._open().cursor(row_factory=tuple_row) as cursor:
            cursor.execute(call.statement, call.parameters)
            return call.answer(cursor.fetchall())

    def _open(self) -> psycopg.Connection[Any]:
        with self._guard:
            if self._conninfo is not None and (self._connection is None or self._connection.closed):
                self._connection = psycopg.connect(
                    self._conninfo, autocommit=True, prepare_threshold=self._prepare_threshold
                )
            assert self._connection is not None
            return self._connection

    def _is_lost(self) -> bool:
        return self._connection is not None and bool(self._connection.closed)

    def _look(self, run_id: UUID) -> calls.Ended | None:
        if self._conninfo is not None:
            return self._do(calls.look(run_id))
        with self._open().transaction():
            return self._do(calls.look(run_id))


class RunHandle:
    """A run. Cheap: it holds the id and asks the server for the rest."""

    def __init__(self, client: Client, run_id: UUID) -> None:
        self._client = client
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"RunHandle({str(self.run_id)!r})"

    def wait(self, timeout: float | None = None) -> Any:
        """Waits until the run has ended, at most `timeout` seconds, and returns its output.

        Raises `RunFailed`, with the step and its message, if it failed; `RunCancelled` if it was cancelled;
        TimeoutError when the time is over, which ends only the waiting; `NotFound` if there is no such run. It goes on
        over restarts of the server.
        """
        client = self._client
        mine = client._connection if client._conninfo is None else None
        if mine is not None and mine.info.transaction_status != TransactionStatus.IDLE:
            raise _uncommitted(self.run_id)
        patience = _Patience(self.run_id, timeout)
        while True:
            try:
                ended = client._look(self.run_id)
            except psycopg.OperationalError:
                # One that never was connected is wrong rather than restarting.
                if client._conninfo is None or client._connection is None:
                    raise
                ended = None
            if ended is not None:
                if ended.failure is not None:
                    raise ended.failure
                return ended.output
            time.sleep(patience.next())

    def status(self) -> str:
        """`pending`, `started`, `completed`, `failed` or `cancelled`."""
        return self._client._do(calls.status(self.run_id))

    def state(self) -> RunState:
        """Where the run and each of its steps stand."""
        return self._client._do(calls.state(self.run_id))

    def svg(self) -> str:
        """The run as a picture."""
        return self._client._do(calls.svg(self.run_id))

    def cancel(self, reason: str | None = None) -> str:
        """Ends the run; one that has ended stays as it is. Returns the status after it."""
        return self._client._do(calls.cancel(self.run_id, reason))

    def retry(self) -> str:
        """Goes on with a failed or cancelled run: what completed stays. Raises `Conflict` for others."""
        return self._client._do(calls.retry(self.run_id))

    def fork(self, from_steps: Iterable[str], payload: Any = None) -> RunHandle:
        """Starts a new run from one that has ended: these steps and what follows them are done again."""
        return RunHandle(self._client, self._client._do(calls.fork(self.run_id, from_steps, payload)))

    def start_step(self, step_slug: str) -> str:
        """Starts a step with `start_mode="manual"`. Raises `Conflict` while its deps are unresolved."""
        return self._client._do(calls.start_step(self.run_id, step_slug))

    def complete_step(self, step_slug: str, output: Any = None) -> bool:
        """Completes an external step. False: it is not waiting (any more), and nothing has changed."""
        return self._client._do(calls.complete_step(self.run_id, step_slug, output))

    def fail_step(self, step_slug: str, message: str) -> bool:
        """Turns an external step down, for good. False: it is not waiting (any more)."""
        return self._client._do(calls.fail_step(self.run_id, step_slug, message))


class AsyncClient:
    """`Client` for asyncio: the same methods, to be awaited. One call at a time is under way on its connection.

    That is so on a connection of yours, too. But leave it alone while somebody waits for a run on it: your own commit
    may come in the middle of a look.
    """

    def __init__(self, connection: str | psycopg.AsyncConnection[Any] = "", *, prepare: bool = True) -> None:
        self._guard = asyncio.Lock()
        self._prepare_threshold = 5 if prepare else None
        self._conninfo = complete(connection, _APPLICATION) if isinstance(connection, str) else None
        self._connection = None if isinstance(connection, str) else connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, if it is not yours. The next call would make a new one."""
        async with self._guard:
            if self._conninfo is not None and self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def define(self, flow: Flow | dict[str, Any]) -> Definition:
        """See `Client.define`."""
        return await self._do(calls.define(flow))

    async def run(
        self,
        flow: str | Flow,
        payload: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        priority: int = 0,
        start_at: datetime | None = None,
    ) -> AsyncRunHandle:
        """See `Client.run`."""
        call = calls.run(flow, payload, key, idempotency_key, priority, start_at)
        return AsyncRunHandle(self, await self._do(call))

    async def run_many(
        self,
        flow: str | Flow,
        payloads: Iterable[Any],
        *,
        idempotency_keys: Iterable[str | None] | None = None,
        priority: int = 0,
    ) -> list[AsyncRunHandle]:
        """See `Client.run_many`."""
        run_ids = await self._do(calls.run_many(flow, payloads, idempotency_keys, priority))
        return [AsyncRunHandle(self, run_id) for run_id in run_ids]

    def handle(self, run_id: UUID | str) -> AsyncRunHandle:
        """See `Client.handle`."""
        return AsyncRunHandle(self, run_id if isinstance(run_id, UUID) else UUID(run_id))

    async def send_event(self, name: str, payload: Any = None, *, key: str | None = None) -> int:
        """See `Client.send_event`."""
        return await self._do(calls.send_event(name, payload, key))

    async def _do(self, call: Call[T]) -> T:
        with refusals():
            if self._conninfo is None:
                async with self._turn():
                    return await self._ask(call)
            try:
                return await self._ask(call)
            except psycopg.OperationalError:
                if not call.repeatable or not self._is_lost():
                    raise
                return await self._ask(call)

    async def _ask(self, call: Call[T]) -> T:
        connection = await self._open()
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(call.statement, call.parameters)
            return call.answer(await cursor.fetchall())

    async def _open(self) -> psycopg.AsyncConnection[Any]:
        async with self._guard:
            if self._conninfo is not None and (self._connection is None or self._connection.closed):
                self._connection = await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, prepare_threshold=self._prepare_threshold
                )
            assert self._connection is not None
            return self._connection

    def _is_lost(self) -> bool:
        return self._connection is not None and bool(self._connection.closed)

    def _turn(self) -> asyncio.Lock:
        assert self._connection is not None
        return _turns.setdefault(self._connection, asyncio.Lock())

    async def _look(self, run_id: UUID, *, is_first: bool) -> calls.Ended | None:
        if self._conninfo is not None:
            return await self._do(calls.look(run_id))
        async with self._turn():
            connection = await self._open()
            if is_first and connection.info.transaction_status != TransactionStatus.IDLE:
                raise _uncommitted(run_id)
            with refusals():
                async with connection.transaction():
                    return await self._ask(calls.look(run_id))


class AsyncRunHandle:
    """A run. Cheap: it holds the id and asks the server for the rest."""

    def __init__(self, client: AsyncClient, run_id: UUID) -> None:
        self._client = client
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"AsyncRunHandle({str(self.run_id)!r})"

    async def wait(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109  # as in RunHandle
        """See `RunHandle.wait`."""
        client = self._client
        patience = _Patience(self.run_id, timeout)
        is_first = True
        while True:
            try:
                ended = await client._look(self.run_id, is_first=is_first)
            except psycopg.OperationalError:
                # One that never was connected is wrong rather than restarting.
                if client._conninfo is None or client._connection is None:
                    raise
                ended = None
            if ended is not None:
                if ended.failure is not None:
                    raise ended.failure
                return ended.output
            is_first = False
            await asyncio.sleep(patience.next())

    async def status(self) -> str:
        """See `RunHandle.status`."""
        return await self._client._do(calls.status(self.run_id))

    async def state(self) -> RunState:
        """See `RunHandle.state`."""
        return await self._client._do(calls.state(self.run_id))

    async def svg(self) -> str:
        """See `RunHandle.svg`."""
        return await self._client._do(calls.svg(self.run_id))

    async def cancel(self, reason: str | None = None) -> str:
        """See `RunHandle.cancel`."""
        return await self._client._do(calls.cancel(self.run_id, reason))

    async def retry(self) -> str:
        """See `RunHandle.retry`."""
        return await self._client._do(calls.retry(self.run_id))

    async def fork(self, from_steps: Iterable[str], payload: Any = None) -> AsyncRunHandle:
        """See `RunHandle.fork`."""
        return AsyncRunHandle(self._client, await self._client._do(calls.fork(self.run_id, from_steps, payload)))

    async def start_step(self, step_slug: str) -> str:
        """See `RunHandle.start_step`."""
        return await self._client._do(calls.start_step(self.run_id, step_slug))

    async def complete_step(self, step_slug: str, output: Any = None) -> bool:
        """See `RunHandle.complete_step`."""
        return await self._client._do(calls.complete_step(self.run_id, step_slug, output))

    async def fail_step(self, step_slug: str, message: str) -> bool:
        """See `RunHandle.fail_step`."""
        return await self._client._do(calls.fail_step(self.run_id, step_slug, message))
