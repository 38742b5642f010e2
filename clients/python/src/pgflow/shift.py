"""A worker at work: claims tasks, has their handlers do them, and hands the results back.

One coroutine, `_exchange_all`, speaks to the server about tasks. Each of its calls hands over all results that are
there and takes new tasks in the same transaction; while it is under way handlers go on, and what they return goes with
the next call. So a busy worker makes one round trip for each batch, and an idle one sends a result at once.

Nothing that a handler returned is dropped before the server has answered: when the connection breaks, the same results
are sent again, and a result that had arrived is then refused, which is right.

A run may be locked for long, by a transaction that somebody forgot to commit. Its results are then handed over by a
coroutine of their own that has the patience, and those of other runs go on.

Beside it are: the alarm, which has an idle worker look once per poll interval; the listener, which wakes it when
somebody made tasks ready; and the keeper of leases, which extends those of tasks that take long, all together, on a
connection of its own, so that nothing can hold it up.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from .errors import NonRetryable, RetryAfter, refusals
from .handler import Handler
from .leases import Leases
from .ledger import MOST_RESULTS, Ledger
from .link import Link, is_locked, is_odd, is_refusal, is_setup
from .task import RELEASE, SETTLED, Result, Task, abandoned, claimed, completed, failed, rejected, without_ours
from .threads import Threads

_log = logging.getLogger("pgflow")

_CLAIM: LiteralString = """
SELECT run_id::text, flow_slug, step_slug, task_index, attempt, input::text, lease,
       extract(epoch FROM lease_expires_at - clock_timestamp())::float8
FROM pgflow.settle_and_claim(%s::jsonb, %s, %s, %s, %s)
"""
_SETTLE: LiteralString = "SELECT count(*) FROM pgflow.settle_step_tasks(%s::jsonb)"
_LOCK: LiteralString = "SELECT pg_advisory_lock_shared(pgflow_locks.queue_key(%s))"
_UNLOCK: LiteralString = "SELECT pg_advisory_unlock_shared(pgflow_locks.queue_key(%s))"

# Seconds. A result waits so long for others, if handlers are running that may return some.
_LINGER = 0.002
# Tasks are claimed ahead as far as they will begin within this time, and given back when they have waited longer than
# the second one: somebody else may be free.
_LOOKAHEAD, _STALE = 0.05, 1.0
# How fast what is known of the length of tasks follows the last ones.
_FORGETTING = 0.1
# The keeper of leases looks this often. The shortest lease is a second.
_KEEPING = 0.2
# An idle worker takes its lock only after this: while it is held, everybody's commits notify.
_SETTLED_DOWN = 0.01
# Somebody who holds a run longer than this has forgotten it.
_LOCK_PATIENCE = 2.0
# Those who have are waited for in turn.
_LOCK_TURN = 0.5
# Who has forgotten one has perhaps forgotten many. The more there are the less time each one gets, down to this.
_LOCK_GLANCE = 0.02
# The keeper of leases looks again soon. It holds many rows at once, and where a settlement wants them in another order
# it should be the one who gives up: deadlock_timeout is a second.
_LEASE_PATIENCE = 0.1
_FIRST_DELAY, _LAST_DELAY = 0.1, 5.0
_LAST_REST = 10.0
# After the end of the time to shut down, to tell the server of it, and for coroutines to heed being cancelled.
LAST_WORDS, HEED = 10.0, 1.0


@dataclass(frozen=True)
class Settings:
    """What `Worker` was told, checked."""

    worker_id: str
    conninfo: str
    handlers: Mapping[tuple[str, str], Handler]
    """By flow and step."""
    queues: Sequence[str]
    concurrency: int
    batch_size: int
    poll_interval: float
    listens: bool
    lease_seconds: int | None
    shutdown_timeout: float


class Shift:
    """A worker at work, from the first claim to the last result."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.loop = asyncio.get_running_loop()
        self._threads = Threads(settings.concurrency, settings.worker_id)
        # Each task gets a copy: what a handler sets in its context variables is not there for the next one.
        self._scope = contextvars.copy_context()
        prepares = settings.listens
        self._link = Link(settings.conninfo, prepares=prepares, lock_timeout=_LOCK_PATIENCE)
        self._patient_link = Link(settings.conninfo, prepares=prepares, lock_timeout=_LOCK_TURN)
        self._lease_link = Link(settings.conninfo, prepares=prepares, lock_timeout=_LEASE_PATIENCE)
        self._leases = Leases(self._lease_link, settings.lease_seconds, self._wants_lease, self._lose)
        self._ear = Link(settings.conninfo, prepares=prepares)

        # What is held: running, or claimed ahead and waiting for its turn. What is done is in the ledger until it is
        # settled.
        self._running: set[Task] = set()
        self._backlog: deque[Task] = deque()
        self._held: set[Task] = set()
        self._ledger = Ledger(settings.worker_id, self._go_on)
        # Seconds that a handler takes, as of late.
        self._pace: float | None = None

        # Queues that may have tasks for us, the next one first, and until when one is left alone.
        self._hungry: deque[str] = deque(settings.queues)
        self._rests: dict[str, float] = {}
        self._rest_spans: dict[str, float] = {}
        self._rest_timers: dict[str, asyncio.TimerHandle] = {}

        self._wake = asyncio.Event()
        self._is_done = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._idle_since = 0.0
        self._holds = asyncio.Event()

        # Verdicts of threads, on their way into the loop.
        self._arrivals: deque[tuple[Task, Any]] = deque()
        self._arriving = threading.Lock()
        self._is_announced = False

        self._has_claimed = False
        self._is_stopping = False
        self._is_aborting = False
        self._main: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # The life of it.

    async def work(self) -> None:
        settings = self._settings
        _log.info("%s: serving %s", settings.worker_id, ", ".join(settings.queues))
        self._main = self.loop.create_task(self._exchange_all())
        aides: list[asyncio.Task[None]] = [
            self.loop.create_task(aide)
            for aide in (
                self._raise_alarms(),
                self._keep_leases(),
                self._settle_patiently(),
                *([self._listen()] if settings.listens else []),
            )
        ]
        try:
            await asyncio.wait([self._main, *aides], return_when=asyncio.FIRST_COMPLETED)
            # The aides never end by themselves: one that did has a fault, and the worker cannot go on without it.
            for aide in aides:
                if aide.done():
                    self.stop(0)
                    await asyncio.wait([self._main], timeout=LAST_WORDS)
                    aide.result()
            if not self._main.cancelled():
                self._main.result()
        except asyncio.CancelledError:
            self.stop(0)
            await asyncio.wait([self._main], timeout=HEED + LAST_WORDS)
            raise
        finally:
            self._end_handlers()
            for timer in (*self._timers, *self._rest_timers.values()):
                timer.cancel()
            self._ledger.close()
            for task in (self._main, *aides):
                task.cancel()
            await asyncio.gather(self._main, *aides, return_exceptions=True)
            for link in (self._link, self._patient_link, self._lease_link, self._ear):
                await link.close()
            self._threads.close()
            if self._ledger:
                _log.error("%s: %d results could not be handed over", settings.worker_id, len(self._ledger))
            _log.info("%s: has ended", settings.worker_id)

    def stop(self, timeout: float) -> None:
        """Claims nothing more, gives back what has not begun, and lets what runs go on for so many seconds."""
        self._is_stopping = True
        self._ledger.unpark()
        while self._backlog:
            self._give_back(self._backlog.popleft())
        self._is_idle.clear()
        self._wake.set()
        if timeout <= 0:
            self._abort()
        else:
            self._timers.append(self.loop.call_later(timeout, self._abort))

    def _abort(self) -> None:
        """Time is over: ends what can be ended, and gives back the rest."""
        if self._is_aborting:
            return
        self._is_aborting = True
        for task in list(self._running):
            task.context.cancelled.set()
            if task.coroutine is not None:
                task.coroutine.cancel()
            else:
                self._give_back(task)
        self._timers.append(self.loop.call_later(HEED, self._give_back_all))
        self._timers.append(self.loop.call_later(LAST_WORDS, self._give_up))
        self._wake.set()

    def _give_back_all(self) -> None:
        for task in list(self._held):
            self._give_back(task)
        self._wake.set()

    def _give_up(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _end_handlers(self) -> None:
        for task in list(self._running):
            task.context.cancelled.set()
            task.is_lost = True
            if task.coroutine is not None:
                task.coroutine.cancel()
        # What ends now makes room for nothing.
        self._is_stopping = True

    def _go_on(self) -> None:
        """There is something to be done again."""
        if not self._is_stopping:
            self._start_tasks()
        self._wake.set()

    # Speaking to the server.

    async def _exchange_all(self) -> None:
        """Hands over results and takes tasks, until it is told to stop and nothing is held any more."""
        delays = _Delays("settling and claiming")
        has_failed_oddly = False
        while await self._reason():
            await self._gather()
            results = self._ledger.take()
            try:
                if has_failed_oddly and results:
                    # The second time it is one of them.
                    await self._settle_one_by_one(results, parks=True)
                else:
                    await self._exchange(results)
                has_failed_oddly = False
                delays.end()
            except psycopg.Error as error:
                if not self._has_claimed and not results and (is_refusal(error) or is_setup(error)):
                    # Something is wrong with how the worker was set up, and waiting does not mend it.
                    with refusals():
                        raise
                has_failed_oddly = bool(results) and is_odd(error)
                self._ledger.put_back()
                await delays.wait(error)

    async def _reason(self) -> bool:
        """Waits for a reason to call. False when there will be none."""
        while True:
            self._wake.clear()
            if self._ledger.waiting or self._next_claim()[1] > 0:
                self._is_idle.clear()
                return True
            if self._is_stopping and not self._ledger and all(task.is_lost for task in self._held):
                return False
            if self._hungry or self._is_stopping or self._room() <= 0:
                self._is_idle.clear()
            elif not self._is_idle.is_set():
                self._idle_since = time.monotonic()
                self._is_idle.set()
            await self._wake.wait()

    async def _gather(self) -> None:
        """Gives running handlers a moment, so that results go together, if there is one to be handed over."""
        if not 0 < self._ledger.waiting < MOST_RESULTS or not self._held or self._is_aborting:
            return
        self._is_done.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                await self._is_done.wait()

    def _room(self) -> int:
        """How many tasks more may be held: a free hand for each, and more if they are short."""
        settings = self._settings
        ahead = 0
        if self._pace is not None:
            ahead = min(settings.batch_size, int(settings.concurrency * _LOOKAHEAD / max(self._pace, 1e-6)))
        return settings.concurrency + ahead - len(self._held) - self._ledger.waiting

    def _next_claim(self) -> tuple[str, int]:
        """The queue to claim from and how many tasks, 0 if none."""
        if not self._is_stopping and self._hungry and not self._ledger.is_full:
            room = min(self._room(), self._settings.batch_size)
            if room > 0:
                now = time.monotonic()
                for queue in self._hungry:
                    if self._rests.get(queue, 0.0) <= now:
                        return queue, room
        return "", 0

    def _look_again(self, queues: Iterable[str]) -> None:
        """There may be tasks in these queues."""
        for queue in queues:
            if queue not in self._hungry and queue in self._settings.queues:
                self._hungry.append(queue)
        self._wake.set()

    def _rest(self, queue: str, span: float) -> None:
        """Leaves a queue alone for so many seconds."""
        self._rests[queue] = time.monotonic() + span
        if queue in self._rest_timers:
            self._rest_timers[queue].cancel()
        self._rest_timers[queue] = self.loop.call_later(span, self._look_again, [queue])

    async def _rows(self, statement: LiteralString, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What the server answers; where runs are known to be locked, others get less time to be free."""
        aside = self._ledger.runs_aside
        patience = max(_LOCK_GLANCE, _LOCK_PATIENCE / (aside + 1) ** 2) if aside else None
        return await self._link.rows(statement, parameters, lock_timeout=patience)

    async def _exchange(self, results: list[Result]) -> None:
        """One call, if all goes well. What is on its way after an error has not been settled."""
        settings = self._settings
        if results and results[0].failures:
            await self._settle_one_by_one(results, parks=True)
            return
        if results:
            # Whatever depends on these may be ready then, in any queue.
            self._look_again(settings.queues)
        queue, room = self._next_claim()
        if room == 0:
            if results:
                await self._settle(results)
            return
        # What becomes ready from here on puts it back.
        self._hungry.remove(queue)
        called_at = time.monotonic()
        parameters = (_array(results), queue, room, settings.lease_seconds, settings.worker_id)
        try:
            rows = await self._rows(_CLAIM, parameters)
        except psycopg.Error as error:
            self._look_again([queue])
            if results and is_refusal(error):
                await self._settle_one_by_one(results)
            elif results and is_locked(error):
                await self._settle_run_by_run(results)
            elif self._has_claimed and is_refusal(error):
                _log.error("%s: may not claim from queue %s: %s", settings.worker_id, queue, error)
                self._rest(queue, _LAST_REST)
            else:
                raise
            return
        self._has_claimed = True
        self._ledger.forget(results)
        if len(rows) == room:
            self._look_again([queue])
        self._take(rows, queue, called_at)

    async def _settle(self, results: list[Result]) -> None:
        try:
            await self._rows(_SETTLE, (_array(results),))
            self._ledger.forget(results)
        except psycopg.Error as error:
            if is_locked(error):
                await self._settle_run_by_run(results)
            elif is_refusal(error):
                await self._settle_one_by_one(results)
            else:
                raise

    async def _settle_run_by_run(self, results: list[Result]) -> None:
        """Somebody has locked one of their runs: settles the others, and leaves those to the patient one."""
        runs: dict[str, list[Result]] = {}
        for result in results:
            runs.setdefault(result.task.run_id, []).append(result)
        if len(runs) == 1:
            self._ledger.set_aside(results)
            return
        for group in runs.values():
            try:
                await self._rows(_SETTLE, (_array(group),))
                self._ledger.forget(group)
            except psycopg.Error as error:
                if is_refusal(error):
                    await self._settle_one_by_one(group)
                elif is_locked(error):
                    self._ledger.set_aside(group)
                else:
                    raise

    async def _settle_patiently(self) -> None:
        """Hands over the results of runs that are locked, however long that takes, one run after the other."""
        delays = _Delays("settling")
        while True:
            # The first one feels whether the run is still locked; if not, the others go the usual way.
            result = await self._ledger.first_aside()
            is_free = False
            try:
                aside = self._ledger.runs_aside
                turn = max(_LOCK_GLANCE, _LOCK_TURN / aside) if aside > 1 else None
                await self._patient_link.rows(_SETTLE, (_array([result]),), lock_timeout=turn)
                delays.end()
                self._ledger.forget([result])
                is_free = True
            except psycopg.Error as error:
                if is_locked(error):
                    pass
                elif is_refusal(error):
                    self._refuse(result, error)
                elif is_odd(error):
                    self._ledger.park(result, error)
                else:
                    await delays.wait(error)
            self._ledger.next_turn(result.task.run_id, is_free=is_free)
            if is_free:
                self._look_again(self._settings.queues)

    async def _settle_one_by_one(self, results: list[Result], *, parks: bool = False) -> None:
        """The server refused the whole call because of one of them: finds it, and settles the others.

        Another error than a refusal is raised, or the result parked if it is odd and that was said.
        """
        self._look_again(self._settings.queues)
        left = deque(results)
        while left:
            result = left.popleft()
            if self._ledger.is_set_aside(result.task.run_id):
                self._ledger.set_aside([result])
                continue
            try:
                await self._rows(_SETTLE, (_array([result]),))
                self._ledger.forget([result])
            except psycopg.Error as error:
                if is_locked(error):
                    self._ledger.set_aside([result])
                elif is_refusal(error):
                    left.extendleft(self._refuse(result, error))
                elif parks and is_odd(error):
                    self._ledger.park(result, error)
                else:
                    raise

    def _refuse(self, result: Result, error: psycopg.Error) -> list[Result]:
        """The server refused it: an output that cannot be stored is a failed attempt. What is to be said instead."""
        if result.verdict.startswith('"output"') and error.sqlstate != "42501":
            _log.warning("%s: its output was refused: %s", result.task.name, error)
            instead = result.task.result(rejected(f"the output cannot be stored: {error}"))
            self._ledger.replace(result, instead)
            return [instead]
        _log.error("%s: its result was refused: %s", result.task.name, error)
        self._ledger.forget([result])
        return []

    # What is claimed, and what becomes of it.

    def _take(self, rows: list[tuple[Any, ...]], queue: str, called_at: float) -> None:
        unknown: set[str] = set()
        for row in rows:
            handler = self._settings.handlers.get((row[1], row[2]))
            if handler is None:
                # Of a version that this program does not know. Somebody who does will take it.
                unknown.add(f"{row[1]}.{row[2]}")
                stranger = claimed(row, _NOBODY, self._settings.worker_id, called_at)
                self._hand_over(stranger, RELEASE)
                continue
            task = claimed(row, handler, self._settings.worker_id, called_at)
            self._held.add(task)
            if self._is_stopping:
                self._give_back(task)
            else:
                self._backlog.append(task)
        if unknown:
            span = self._rest_spans[queue] = min(self._rest_spans.get(queue, 0.5) * 2, _LAST_REST)
            self._rest(queue, span)
            _log.error(
                "%s: no function for %s: given back, and nothing more is claimed from queue %s for %g s",
                self._settings.worker_id,
                ", ".join(sorted(unknown)),
                queue,
                span,
            )
        elif rows:
            self._rest_spans.pop(queue, None)
        if self._held:
            self._holds.set()
        self._start_tasks()

    def _start_tasks(self) -> None:
        while self._backlog and len(self._running) < self._settings.concurrency and not self._ledger.is_full:
            task = self._backlog.popleft()
            task.started_at = time.monotonic()
            self._running.add(task)
            task.scope = self._scope.copy()
            if task.handler.is_async:
                self._begin(task, None)
            else:
                self._threads.submit(lambda task=task: self._work_in_thread(task))  # type: ignore[misc]

    def _work_in_thread(self, task: Task) -> None:
        verdict: Any
        try:
            output = task.scope.run(task.call)
            verdict = output if inspect.isawaitable(output) else completed(output, task.context)
        except BaseException as error:  # whatever a handler raises, it is the attempt that ends
            verdict = self._failed(task, error)
        with self._arriving:
            self._arrivals.append((task, verdict))
            if self._is_announced:
                return
            self._is_announced = True
        # The loop may have ended without us; then the task was given back.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._arrive)

    def _arrive(self) -> None:
        with self._arriving:
            self._is_announced = False
            arrivals, self._arrivals = self._arrivals, deque()
        for task, verdict in arrivals:
            if isinstance(verdict, str):
                self._finish(task, verdict)
            elif task in self._held:
                self._begin(task, verdict)
            else:
                self._finish(task, RELEASE)

    def _begin(self, task: Task, awaitable: Any) -> None:
        task.coroutine = self.loop.create_task(self._await(task, awaitable), context=task.scope)
        task.coroutine.add_done_callback(lambda coroutine: self._see_to(task, coroutine))

    def _see_to(self, task: Task, coroutine: asyncio.Task[None]) -> None:
        """The attempt ends in any case: if it was cancelled before it began, or broke what surrounds it."""
        error = None if coroutine.cancelled() else coroutine.exception()
        if task in self._running:
            self._finish(task, RELEASE if error is None else self._failed(task, error))

    async def _await(self, task: Task, awaitable: Any) -> None:
        try:
            verdict = completed(await (task.call() if awaitable is None else awaitable), task.context)
        except GeneratorExit:
            raise
        except BaseException as error:
            verdict = self._failed(task, error)
        self._finish(task, verdict)

    def _failed(self, task: Task, error: BaseException) -> str:
        if abandoned(error, task):
            return RELEASE
        try:
            verdict = failed(error)
            self._tell(task, error)
        except Exception:  # not even that can be said of it
            kind = type(error).__name__
            _log.warning("%s failed: %s", task.name, kind)
            return rejected(kind)
        return verdict

    def _tell(self, task: Task, error: BaseException) -> None:
        if isinstance(error, NonRetryable):
            _log.warning("%s failed for good: %s", task.name, error)
        elif isinstance(error, RetryAfter) and hasattr(error, "seconds"):
            _log.warning("%s failed, to be tried again after %d s: %s", task.name, error.seconds, error)
        elif not task.is_lost:
            _log.warning("%s failed", task.name, exc_info=without_ours(error))

    def _finish(self, task: Task, verdict: str) -> None:
        now = time.monotonic()
        took = now - task.started_at
        self._pace = took if self._pace is None else self._pace + _FORGETTING * (took - self._pace)
        self._running.discard(task)
        if task in self._held:
            self._held.discard(task)
            if verdict == SETTLED:
                # What depends on it may be ready. If the transaction was rolled back the task is still ours, and given
                # back; if not, the server does not heed this.
                self._look_again(self._settings.queues)
                verdict = RELEASE
            if not task.is_lost:
                self._hand_over(task, verdict)
        if not self._is_stopping:
            self._start_tasks()
        if not self._held:
            self._is_done.set()
        self._wake.set()

    def _hand_over(self, task: Task, verdict: str) -> None:
        self._ledger.add(task.result(verdict))
        self._holds.set()

    def _give_back(self, task: Task) -> None:
        """Hands a task back that is held; what its handler may still return does not count."""
        self._held.discard(task)
        if not task.is_lost:
            task.is_given_back = True
            self._hand_over(task, RELEASE)
        self._wake.set()

    def _lose(self, task: Task, error: psycopg.Error | None = None) -> None:
        """The server says that the task is not ours any more, or refuses to extend its lease."""
        if task not in self._held:
            return
        if error is not None:
            _log.warning("%s: its lease is not extended: %s", task.name, error)
        _log.warning("%s was lost: its lease is another's, or its run has ended", task.name)
        task.is_lost = True
        task.context.cancelled.set()
        if task in self._running:
            if task.coroutine is not None:
                task.coroutine.cancel()
        else:
            self._backlog.remove(task)
            self._held.discard(task)

    # The aides.

    async def _raise_alarms(self) -> None:
        """Has every queue looked at once per poll interval, more or less, so that workers do not come all at once."""
        while True:
            await asyncio.sleep(self._settings.poll_interval * random.uniform(0.9, 1.1))
            self._look_again(self._settings.queues)

    async def _listen(self) -> None:
        """Wakes the worker when somebody makes tasks ready while it has nothing to do.

        To wait is to hold the lock of the queue in share mode; only then is anybody notified.
        """
        settings = self._settings
        delays = _Delays("listening")
        while True:
            try:
                ear = await self._ear.open()
                await ear.execute("LISTEN pgflow_tasks")
                while True:
                    await self._is_idle.wait()
                    await asyncio.sleep(_SETTLED_DOWN)
                    if not self._has_settled_down():
                        continue
                    for queue in settings.queues:
                        await ear.execute(_LOCK, (queue,))
                    delays.end()
                    # What became ready before the lock was ours has notified nobody.
                    self._look_again(settings.queues)
                    while True:
                        hints = [hint.payload async for hint in ear.notifies(timeout=60, stop_after=1)]
                        is_busy = not self._has_settled_down()
                        self._look_again(hints)
                        if hints and is_busy:
                            break
                    for queue in settings.queues:
                        await ear.execute(_UNLOCK, (queue,))
            except psycopg.Error as error:
                await self._ear.close()
                await delays.wait(error)

    def _has_settled_down(self) -> bool:
        return self._is_idle.is_set() and time.monotonic() - self._idle_since > _SETTLED_DOWN * 0.9

    async def _keep_leases(self) -> None:
        """Extends the leases of what runs, and gives back what has waited too long for its turn."""
        delays = _Delays("extending leases")
        while True:
            await self._holds.wait()
            await asyncio.sleep(_KEEPING)
            if not self._held and not self._ledger:
                self._holds.clear()
                continue
            now = time.monotonic()
            self._give_back_stale(now)
            # What is done is ours until it is settled, or somebody would do it again.
            ours = [*self._held, *self._ledger.tasks]
            try:
                await self._leases.extend(task for task in ours if task.extend_at <= now)
                delays.end()
            except psycopg.Error as error:
                await delays.wait(error)

    def _give_back_stale(self, now: float) -> None:
        if self._backlog and now - self._backlog[0].claimed_at > _STALE:
            # Those that run take longer than was thought when these were claimed.
            self._pace = max(self._pace or 0.0, _STALE)
            while self._backlog and now - self._backlog[0].claimed_at > _STALE:
                self._give_back(self._backlog.popleft())

    def _wants_lease(self, task: Task) -> bool:
        is_ours = task in self._held or task in self._ledger
        return is_ours and not task.is_lost and not task.context.is_settled


class _Delays:
    """Waiting between attempts at something that the database does not do at the moment."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._delay = 0.0

    async def wait(self, error: psycopg.Error) -> None:
        if self._delay == 0.0:
            message = str(error).strip()
            if error.sqlstate in ("26000", "42P05"):
                message += " (behind a connection pooler in transaction mode say listen=False)"
            _log.warning("%s does not work, and is tried again until it does: %s", self._what, message)
        self._delay = min(max(self._delay * 2, _FIRST_DELAY), _LAST_DELAY)
        await asyncio.sleep(self._delay * random.uniform(0.8, 1.2))

    def end(self) -> None:
        """It works."""
        if self._delay > 0.0:
            _log.warning("%s works again", self._what)
        self._delay = 0.0


def _nobody() -> None:
    """The handler of tasks that have none."""


_NOBODY = Handler(_nobody, False, (), (), (), frozenset(), None, False)


def _array(results: list[Result]) -> str:
    return "[" + ",".join([result.text for result in results]) + "]"
