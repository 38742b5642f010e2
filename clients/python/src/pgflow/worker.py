"""The worker as a program has it: what it is told, and how it is run and stopped. `shift` has its work."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

from .errors import DefinitionError
from .flow import Flow
from .handler import Handler
from .shift import HEED, LAST_WORDS, Settings, Shift

_log = logging.getLogger("pgflow")


class Worker:
    """Does the tasks of flows.

    ```python
    Worker("postgresql://localhost/app", [flow]).run()
    ```

    - `conninfo`: a libpq connection string or URL; what it leaves out stands in PGHOST and so on. A worker has up to
      four connections.
    - `flows`: whose steps it does. It serves the queues of these steps.
    - `concurrency`: how many handlers run at once. Coroutines run in the event loop, other functions in threads.
    - `batch_size`: how many tasks are claimed in a call at most. Short tasks are claimed ahead, long ones are not.
    - `queues`: serve only these of the flows' queues.
    - `poll_interval`: seconds between two looks when there is nothing to do. Retries and delays that fall due may be
      that late; new tasks are not, if `listen`.
    - `listen`: be woken by NOTIFY. False behind a connection pooler in transaction mode; then nothing is kept in the
      session, prepared statements included.
    - `lease_seconds`: how long a claim lasts, instead of the step's `timeout`. Leases of running handlers are extended
      when half of it is over.
    - `shutdown_timeout`: seconds that running handlers get when the worker is told to stop.
    - `worker_id`: its name in `step_tasks` and `workers`; made of host and process if not said.
    """

    def __init__(
        self,
        conninfo: str,
        flows: Flow | Iterable[Flow],
        *,
        concurrency: int = 10,
        batch_size: int = 100,
        queues: Iterable[str] | None = None,
        poll_interval: float = 1.0,
        listen: bool = True,
        lease_seconds: int | None = None,
        shutdown_timeout: float = 30.0,
        worker_id: str | None = None,
    ) -> None:
        _check("concurrency", concurrency, 1, 10_000)
        _check("batch_size", batch_size, 1, 10_000)
        if lease_seconds is not None:
            _check("lease_seconds", lease_seconds, 1, 1_576_800_000)
        if poll_interval <= 0:
            raise ValueError(f"poll_interval {poll_interval!r} is not more than 0")
        if shutdown_timeout < 0:
            raise ValueError(f"shutdown_timeout {shutdown_timeout!r} is less than 0")
        self.worker_id = worker_id or f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(2)}"
        handlers, served = _read([flows] if isinstance(flows, Flow) else list(flows), queues)
        self._settings = Settings(
            worker_id=self.worker_id,
            conninfo=conninfo,
            handlers=handlers,
            queues=served,
            concurrency=concurrency,
            batch_size=batch_size,
            poll_interval=poll_interval,
            listens=listen,
            lease_seconds=lease_seconds,
            shutdown_timeout=shutdown_timeout,
        )
        self._shift: Shift | None = None
        # Whether it has begun ever, and whether it was told to stop before.
        self._has_begun = False
        self._is_told = False
        self._telling = threading.Lock()
        self._thread: threading.Thread | None = None
        self._thread_error: BaseException | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it serves."""
        return tuple(self._settings.queues)

    def run(self) -> None:
        """Works until SIGTERM, SIGINT or `stop`; then finishes what runs, gives back the rest, and returns.

        A second signal ends the patience with what runs. Raises `NotAllowed` if the role may not claim from a queue,
        and psycopg.errors.UndefinedFunction or InvalidSchemaName where there is no pgflow, at the first claim; later
        errors of the database are waited for to pass.
        """
        _run_in_loop(self._run_heeding_signals())

    async def run_async(self) -> None:
        """`run` without signal handlers, in an event loop of yours. To be cancelled, or ended by `stop`."""
        if self._shift is not None:
            raise RuntimeError("this worker is running already")
        with self._telling:
            shift = self._shift = Shift(self._settings)
            self._has_begun = True
            is_told, self._is_told = self._is_told, False
        try:
            if is_told:
                # Nothing runs that would need time.
                shift.stop(self._settings.shutdown_timeout)
            await shift.work()
        finally:
            self._shift = None

    def stop(self, timeout: float | None = None) -> None:
        """Begins to stop; may be called from any thread. `timeout` is instead of `shutdown_timeout`. Does not wait.

        A worker that has not begun yet ends as soon as it does.
        """
        with self._telling:
            shift = self._shift
            self._is_told = not self._has_begun
        if shift is not None:
            shift.loop.call_soon_threadsafe(shift.stop, self._settings.shutdown_timeout if timeout is None else timeout)

    def __enter__(self) -> Self:
        """Works in a thread beside the body of the `with`, and stops at its end: for tests, scripts and notebooks."""
        if self._thread is not None:
            raise RuntimeError("this worker is running already")
        has_begun = threading.Event()

        async def work() -> None:
            asyncio.get_running_loop().call_soon(has_begun.set)
            await self.run_async()

        def run() -> None:
            try:
                _run_in_loop(work())
            except BaseException as error:
                _log.error("%s has ended: %s", self.worker_id, error)
                self._thread_error = error
            finally:
                has_begun.set()

        self._thread_error = None
        self._thread = threading.Thread(target=run, name="pgflow-worker")
        self._thread.start()
        has_begun.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self.stop()
            thread.join()
        if self._thread_error is not None and error is None:
            raise self._thread_error

    async def _run_heeding_signals(self) -> None:
        loop = asyncio.get_running_loop()
        has_asked = False

        def heed(number: int) -> None:
            nonlocal has_asked
            _log.info("%s: %s", self.worker_id, signal.Signals(number).name)
            self.stop(0 if has_asked else None)
            has_asked = True

        heeded = []
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                try:
                    loop.add_signal_handler(number, heed, number)
                    heeded.append(number)
                except NotImplementedError:  # Windows, where Ctrl-C cancels us
                    pass
        try:
            await self.run_async()
        finally:
            for number in heeded:
                loop.remove_signal_handler(number)


def _read(flows: list[Flow], wanted: Iterable[str] | None) -> tuple[dict[tuple[str, str], Handler], list[str]]:
    """The functions of the flows, by flow and step, and the queues to serve. Raises DefinitionError."""
    handlers: dict[tuple[str, str], Handler] = {}
    mine: dict[str, None] = {}
    others: dict[str, str] = {}
    for flow in flows:
        by_default = flow.definition().get("executor", "worker")
        for step in flow.steps.values():
            if step.handler is not None:
                if (flow.slug, step.slug) in handlers:
                    raise DefinitionError(f"there are two flows {flow.slug!r} with a step {step.slug!r}")
                handlers[flow.slug, step.slug] = step.handler
                mine[flow.queue_of(step)] = None
            elif (step.executor or by_default) == "worker":
                others[flow.queue_of(step)] = f"flow {flow.slug!r}: step {step.slug!r}"
    if not mine:
        raise DefinitionError("there is no step with a function in these flows: nothing for a worker to do")
    if wanted is not None:
        wanted = list(wanted)
        unknown = [queue for queue in wanted if queue not in mine]
        if unknown or not wanted:
            raise DefinitionError(f"queues {unknown!r}: these flows have {', '.join(mine)}")
        mine = dict.fromkeys(wanted)
    for queue in mine:
        if queue in others:
            raise DefinitionError(
                f"{others[queue]} has no function here, but is in queue {queue!r}, which this worker serves; give it a "
                "queue of its own"
            )
    return handlers, list(mine)


def _run_in_loop(work: Coroutine[Any, Any, None]) -> None:
    """asyncio.run, but for handlers that will not be cancelled: it would wait for them for ever."""
    # psycopg needs this kind of loop, which is not the usual one on Windows.
    loop = asyncio.SelectorEventLoop()
    task = loop.create_task(work)
    try:
        loop.run_until_complete(task)
    finally:
        if not task.done():  # Ctrl-C where there are no signal handlers
            task.cancel()
            loop.run_until_complete(asyncio.wait([task], timeout=HEED + LAST_WORDS))
        others = asyncio.all_tasks(loop)
        for other in others:
            other.cancel()
        if others:
            loop.run_until_complete(asyncio.wait(others, timeout=HEED))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _check(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} {value!r} is not a whole number from {least} to {most}")
