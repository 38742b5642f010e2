"""The results that a worker owes the server: what handlers returned and the server has not answered to yet."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

import psycopg

from .task import Result, Task

_log = logging.getLogger("pgflow")

MOST_RESULTS = 1_000
"""So many results go in a call at most. If as many are set aside or parked the ledger is full."""
_MOST_BYTES = 16_000_000
# Seconds.
_LAST_PARKING = 60.0


class Ledger:
    """Each result is in one place from `add` until `forget`.

    It waits to be sent; is on its way; is set aside, because somebody has locked its run; or is parked for a while,
    because the server fails at it for reasons that are not known to pass.
    """

    def __init__(self, worker_id: str, go_on: Callable[[], None]) -> None:
        """`go_on` is called when a result waits again, and when the ledger is full no more."""
        self._worker_id = worker_id
        self._go_on = go_on
        self._loop = asyncio.get_running_loop()
        # All of them, with what they are worth in bytes.
        self._results: dict[Task, Result] = {}
        self._bytes = 0
        self._waiting: deque[Result] = deque()
        self._on_their_way: dict[Result, None] = {}
        # By run; the run whose turn it is comes first.
        self._aside: dict[str, list[Result]] = {}
        self._has_aside = asyncio.Event()
        # With what ends it.
        self._parked: dict[Result, asyncio.TimerHandle] = {}
        self._is_full = False

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, task: Task) -> bool:
        return task in self._results

    @property
    def tasks(self) -> Iterable[Task]:
        """Those whose results these are."""
        return self._results.keys()

    @property
    def waiting(self) -> int:
        """How many wait to be sent."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether so much is owed that nothing may be begun."""
        return self._is_full

    def add(self, result: Result) -> None:
        self._note(result)
        self._waiting.append(result)
        self._weigh()

    def forget(self, results: Iterable[Result]) -> None:
        """The server has answered: they need nothing more."""
        for result in results:
            self._leave(result)
            del self._results[result.task]
            self._bytes -= len(result.verdict)
        self._weigh()

    def replace(self, result: Result, other: Result) -> None:
        """The other one of the same task is owed instead, and takes its place."""
        run_id = result.task.run_id
        if result in self._on_their_way:
            self._on_their_way[other] = None
        else:
            self._aside[run_id].insert(0, other)
        self._leave(result)
        self._bytes -= len(result.verdict)
        self._note(other)
        self._weigh()

    def take(self) -> list[Result]:
        """What goes in the next call. It is on its way until it is forgotten, set aside, parked or put back."""
        taken: list[Result] = []
        size = 0
        while self._waiting and len(taken) < MOST_RESULTS:
            result = self._waiting[0]
            if result.task.run_id in self._aside:
                self._aside[result.task.run_id].append(self._waiting.popleft())
                continue
            size += len(result.verdict)
            if taken and (size > _MOST_BYTES or result.failures):
                break
            taken.append(self._waiting.popleft())
            if result.failures:
                # Not to spoil it for the others.
                break
        self._on_their_way.update(dict.fromkeys(taken))
        self._weigh()
        return taken

    def put_back(self) -> None:
        """What is on its way waits again, before all others."""
        self._waiting.extendleft(reversed(self._on_their_way))
        self._on_their_way.clear()

    def set_aside(self, results: Iterable[Result]) -> None:
        """Their runs are locked."""
        for result in results:
            self._leave(result)
            run_id = result.task.run_id
            if run_id not in self._aside:
                _log.warning("%s: run %s is locked by somebody: its results wait", self._worker_id, run_id)
            self._aside.setdefault(run_id, []).append(result)
        self._has_aside.set()
        self._weigh()

    @property
    def runs_aside(self) -> int:
        """How many runs are known to be locked."""
        return len(self._aside)

    def is_set_aside(self, run_id: str) -> bool:
        return run_id in self._aside

    async def first_aside(self) -> Result:
        """Waits until something is set aside: the first result of the run whose turn it is, which stays there."""
        await self._has_aside.wait()
        return next(iter(self._aside.values()))[0]

    def next_turn(self, run_id: str, *, is_free: bool) -> None:
        """It is another run's turn. If this one is free its results are sent as usual again."""
        results = self._aside.pop(run_id)
        if is_free:
            self._waiting.extend(results)
        elif results:
            self._aside[run_id] = results
        if not self._aside:
            self._has_aside.clear()
        self._weigh()

    def park(self, result: Result, error: psycopg.Error) -> None:
        """Leaves it alone for a while, and longer each time."""
        self._leave(result)
        result.failures += 1
        delay = min(2.0 ** (result.failures - 1), _LAST_PARKING)
        _log.error("%s: the server fails at its result, tried again in %g s: %s", result.task.name, delay, error)
        self._parked[result] = self._loop.call_later(delay, self._unpark, result)
        self._weigh()

    def unpark(self) -> None:
        """All that are parked wait again."""
        for result in list(self._parked):
            self._unpark(result)

    def close(self) -> None:
        """Nothing is sent any more."""
        for timer in self._parked.values():
            timer.cancel()

    def _note(self, result: Result) -> None:
        self._results[result.task] = result
        self._bytes += len(result.verdict)

    def _leave(self, result: Result) -> None:
        """Takes it from where it was; it was not waiting."""
        if result in self._on_their_way:
            del self._on_their_way[result]
        else:
            self._aside[result.task.run_id].remove(result)

    def _unpark(self, result: Result) -> None:
        self._parked.pop(result).cancel()
        self._waiting.append(result)
        self._weigh()
        self._go_on()

    def _weigh(self) -> None:
        elsewhere = len(self._results) - len(self._waiting) - len(self._on_their_way)
        was_full, self._is_full = self._is_full, elsewhere >= MOST_RESULTS or self._bytes > 2 * _MOST_BYTES
        if was_full and not self._is_full:
            self._go_on()
