"""Which leases are extended, and which are not any more."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from uuid import UUID

import psycopg

from pgflow.handler import Handler
from pgflow.leases import Leases
from pgflow.task import Task, claimed

HANDLER = Handler(lambda: None, False, (), (), (), frozenset(), None, False)
LOCKED = psycopg.errors.LockNotAvailable("somebody holds it")


def task(run: int, index: int = 0) -> Task:
    return claimed((str(UUID(int=run)), "f", "only", index, 1, "{}", 5, 60.0), HANDLER, "w", 0.0)


class Server:
    """Answers as pgflow does: some tasks are not ours, and some spoil the statement."""

    def __init__(self, *tasks: Task) -> None:
        self.ours = set(tasks)
        self.lost: list[Task] = []
        self.sent: list[list[Task]] = []
        self.errors: dict[Task, psycopg.Error] = {}
        self.not_accepted: set[Task] = set()
        self._known = {(task.run_id, task.task_index): task for task in tasks}
        self.leases = Leases(self, None, self.ours.__contains__, self._lose)  # type: ignore[arg-type]

    async def rows(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[bool]]:
        run_ids, _, indexes, _, _ = parameters
        tasks = [self._known[key] for key in zip(run_ids, indexes, strict=True)]
        self.sent.append(tasks)
        await self.meanwhile(tasks)
        for task in tasks:
            if task in self.errors:
                raise self.errors[task]
        return [(task not in self.not_accepted,) for task in tasks]

    async def meanwhile(self, tasks: list[Task]) -> None:
        """Something may happen while a statement is under way."""

    def _lose(self, task: Task, error: psycopg.Error | None) -> None:
        self.lost.append(task)


def test_what_is_settled_meanwhile_is_not_extended() -> None:
    class Busy(Server):
        async def meanwhile(self, tasks: list[Task]) -> None:
            # While all are tried in vain the handler of the last one ends, and its result is settled.
            self.ours.discard(last)

    first, bad, last = task(1), task(2), task(3)
    server = Busy(first, bad, last)
    server.errors[bad] = LOCKED
    asyncio.run(server.leases.extend([first, bad, last]))
    assert server.sent == [[first, bad, last], [first], [bad], [bad]]
    assert first.extend_at > 30.0
    assert last.extend_at == bad.extend_at == 30.0 and not server.lost


def test_who_spoils_it_is_tried_by_itself_from_then_on() -> None:
    tasks = [task(run) for run in range(5)]
    server = Server(*tasks)
    server.errors[tasks[1]] = LOCKED
    asyncio.run(server.leases.extend(tasks))
    assert server.sent[0] == tasks
    server.sent.clear()
    asyncio.run(server.leases.extend(tasks))
    assert server.sent == [[tasks[0], *tasks[2:]], [tasks[1]]]
    # And with the others again when that goes well.
    server.errors.clear()
    asyncio.run(server.leases.extend(tasks))
    server.sent.clear()
    asyncio.run(server.leases.extend(tasks))
    assert [len(sent) for sent in server.sent] == [5]


def test_of_a_run_that_is_held_one_task_is_waited_for() -> None:
    held, free = [task(1, index) for index in range(100)], task(2)
    server = Server(*held, free)
    server.errors = dict.fromkeys(held, LOCKED)
    for round in range(3):
        server.sent.clear()
        asyncio.run(server.leases.extend([*held, free]))
        assert [free] in server.sent
        assert len(server.sent) <= (4 if round == 0 else 2)
    # If it is only one of its tasks the others do not wait.
    server.errors = {held[0]: LOCKED}
    for _ in range(4):
        asyncio.run(server.leases.extend([*held, free]))
    assert all(one.extend_at > 30.0 for one in held[1:])


def test_what_is_refused_or_not_accepted_is_lost() -> None:
    good, gone, forbidden, other = (task(run) for run in range(4))
    server = Server(good, gone, forbidden, other)
    server.errors = {
        gone: type("Gone", (psycopg.Error,), {"sqlstate": "PT404"})(),
        forbidden: psycopg.errors.InsufficientPrivilege(),
    }
    server.not_accepted = {other}
    asyncio.run(server.leases.extend([good, gone, forbidden, other]))
    assert server.lost == [gone, forbidden, other]
    assert good.extend_at > 30.0 and {one.extend_at for one in server.lost} == {math.inf}
