"""Extending the leases of tasks: all that are due in one statement, and one by one where that fails because of some."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import LiteralString

import psycopg

from .link import Link, is_locked, is_odd, is_refusal
from .task import Task

_log = logging.getLogger("pgflow")

_EXTEND: LiteralString = """
SELECT e.accepted
FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::bigint[])
     WITH ORDINALITY t (run_id, step_slug, task_index, lease, n)
CROSS JOIN LATERAL pgflow.extend_step_task(t.run_id, t.step_slug, t.task_index, t.lease, %s) e
ORDER BY t.n
"""

# A statement takes some 25 µs for each task, and holds them all until its end.
_MOST_TASKS = 1_000


class Leases:
    """Extends leases.

    A task may spoil the statement for others: its run was deleted, a right is missing, or somebody holds it. The first
    two are lost. The last is a suspect: from then on it is tried by itself, after all others.
    """

    def __init__(
        self,
        link: Link,
        lease_seconds: int | None,
        wants: Callable[[Task], bool],
        lose: Callable[[Task, psycopg.Error | None], None],
    ) -> None:
        """`wants` is asked of a task before each statement; `lose` is told of one whose lease is not extended."""
        self._link = link
        self._lease_seconds = lease_seconds
        self._wants = wants
        self._lose = lose
        self._suspects: dict[Task, None] = {}

    async def extend(self, due: Iterable[Task]) -> None:
        """Extends what it can, and sets when it is due again. Raises what is about none of the tasks."""
        tasks = sorted(due, key=lambda task: task.extend_at)
        self._suspects = {task: None for task in self._suspects if self._wants(task)}
        others = [task for task in tasks if task not in self._suspects]
        for start in range(0, len(others), _MOST_TASKS):
            await self._extend_all(others[start : start + _MOST_TASKS])
        for task in list(self._suspects):
            del self._suspects[task]
            if not await self._extend_one(task):
                # Nobody waits for more than one of these in a row.
                self._suspects[task] = None
                break

    async def _extend_all(self, tasks: Sequence[Task]) -> None:
        try:
            await self._send(tasks)
            return
        except psycopg.Error as error:
            if not _is_about_one(error):
                raise
        held: list[Task] = []
        runs: set[str] = set()
        for task in tasks:
            if task.run_id in runs:
                # Who holds one task of a run may hold all of them.
                self._suspects[task] = None
            elif not await self._extend_one(task):
                held.append(task)
                runs.add(task.run_id)
        self._suspects.update(dict.fromkeys(held))

    async def _extend_one(self, task: Task) -> bool:
        """False if that is for later."""
        try:
            await self._send([task])
        except psycopg.Error as error:
            if is_refusal(error):
                self._end(task, error)
                return True
            if not _is_about_one(error):
                raise
            if is_odd(error):
                _log.error("%s: the server fails at its lease: %s", task.name, error)
            return False
        return True

    async def _send(self, tasks: Iterable[Task]) -> None:
        tasks = [task for task in tasks if self._wants(task)]
        if not tasks:
            return
        called_at = time.monotonic()
        parameters = (
            [task.run_id for task in tasks],
            [task.step_slug for task in tasks],
            [task.task_index for task in tasks],
            [task.lease for task in tasks],
            self._lease_seconds,
        )
        rows = await self._link.rows(_EXTEND, parameters)
        for task, (is_mine,) in zip(tasks, rows, strict=True):
            if is_mine:
                task.extend_at = called_at + task.lease_span / 2
            else:
                self._end(task, None)

    def _end(self, task: Task, error: psycopg.Error | None) -> None:
        # Of what waits to be settled the answer to that will say so. It may be on its way.
        task.extend_at = math.inf
        self._lose(task, error)


def _is_about_one(error: psycopg.Error) -> bool:
    """Whether another task may have better luck: also where somebody was waited for in a circle, or for too long."""
    return is_refusal(error) or is_locked(error) or is_odd(error) or error.sqlstate in ("40001", "40P01", "57014")
