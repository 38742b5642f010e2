"""Where the results are that a worker owes the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import psycopg

from pgflow.handler import Handler
from pgflow.ledger import MOST_RESULTS, Ledger
from pgflow.task import Result, Task, claimed

HANDLER = Handler(lambda: None, False, (), (), (), frozenset(), None, False)


def result(run: int, index: int = 0, verdict: str = '"output":1') -> Result:
    row = (str(UUID(int=run)), "f", "only", index, 1, "{}", 5, 60.0)
    return claimed(row, HANDLER, "w", 0.0).result(verdict)


def with_ledger(check: Callable[[Ledger, list[str]], None]) -> None:
    async def inside() -> None:
        calls: list[str] = []
        ledger = Ledger("w", lambda: calls.append("go on"))
        check(ledger, calls)
        ledger.close()

    asyncio.run(inside())


def test_what_is_not_answered_to_is_sent_again_in_the_same_order() -> None:
    def check(ledger: Ledger, calls: list[str]) -> None:
        results = [result(run) for run in range(5)]
        for one in results[:4]:
            ledger.add(one)
        assert ledger.take() == results[:4]
        assert (len(ledger), ledger.waiting) == (4, 0)
        ledger.add(results[4])
        ledger.forget(results[1:2])
        ledger.put_back()
        assert ledger.take() == [results[0], *results[2:]]
        ledger.forget([results[0], *results[2:]])
        assert not ledger and not calls

    with_ledger(check)


def test_results_of_locked_runs_wait_in_turn() -> None:
    async def inside() -> None:
        ledger = Ledger("w", lambda: None)
        one, other, later = result(1), result(2), result(1, 1)
        for each in (one, other, later):
            ledger.add(each)
        ledger.set_aside(ledger.take()[:2])
        ledger.put_back()
        # Its run is locked, so it is not even tried.
        assert ledger.take() == [] and ledger.is_set_aside(one.task.run_id)
        assert await ledger.first_aside() is one
        ledger.next_turn(one.task.run_id, is_free=False)
        assert await ledger.first_aside() is other
        ledger.forget([other])
        ledger.next_turn(other.task.run_id, is_free=True)
        assert await ledger.first_aside() is one
        instead = one.task.result('"error_message":"no"')
        ledger.replace(one, instead)
        assert await ledger.first_aside() is instead
        ledger.forget([instead])
        ledger.next_turn(one.task.run_id, is_free=True)
        assert ledger.take() == [later]
        assert list(ledger.tasks) == [later.task]

    asyncio.run(inside())


def test_who_owes_too_much_begins_nothing() -> None:
    def check(ledger: Ledger, calls: list[str]) -> None:
        for run in range(MOST_RESULTS + 1):
            ledger.add(result(run))
        assert not ledger.is_full
        taken = ledger.take()
        assert len(taken) == MOST_RESULTS
        ledger.set_aside(taken[1:])
        ledger.park(taken[0], psycopg.errors.RaiseException("no"))
        assert ledger.is_full and not calls
        ledger.unpark()
        assert not ledger.is_full and calls
        # What the server failed at is tried by itself.
        assert [len(ledger.take()), len(ledger.take())] == [1, 1]

    with_ledger(check)

    def check_bytes(ledger: Ledger, calls: list[str]) -> None:
        results = [result(run, verdict="x" * 9_000_000) for run in range(4)]
        for one in results:
            ledger.add(one)
        assert ledger.is_full
        taken = ledger.take()
        assert taken == results[:1]
        ledger.forget(taken)
        assert not ledger.is_full and calls == ["go on"]

    with_ledger(check_bytes)


def test_a_task_is_in_it_until_its_result_is_settled() -> None:
    def check(ledger: Ledger, calls: list[str]) -> None:
        one = result(1)
        task: Task = one.task
        ledger.add(one)
        assert task in ledger
        ledger.forget(ledger.take())
        assert task not in ledger

    with_ledger(check)
