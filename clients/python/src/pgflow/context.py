"""What a handler may know about the attempt that it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from .encoding import encode
from .errors import TaskCancelled

_COMPLETE: LiteralString = """
SELECT accepted FROM pgflow.complete_step_task(%s, %s, %s::jsonb, task_index => %s, lease => %s)
"""


@dataclass(slots=True)
class Context:
    """One attempt at one task. A handler gets it in the parameter that is called `ctx` or annotated `Context`."""

    run_id: UUID
    flow_slug: str
    step_slug: str
    task_index: int
    """0 in a single step, the index of the element in a map."""
    attempt: int
    """1 for the first try."""
    worker_id: str
    cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when the work is in vain: the run has ended, the lease was lost, or the worker must stop now.

    The event may be asked or waited for in any thread. Handlers that are coroutines are cancelled as well.
    """

    @property
    def idempotency_key(self) -> str:
        """Names the task, the same for every attempt: `<run>/<step>/<index>`.

        Give it to whatever must not be done twice: a payment, a mail, the primary key of a row.
        """
        return f"{self.run_id}/{self.step_slug}/{self.task_index}"

    lease: int = field(default=0, repr=False)
    """Proves that the task is ours."""
    is_settled: bool = field(default=False, repr=False)
    """Set by `complete`: the worker has nothing to hand over when the handler returns."""

    def complete(self, connection: psycopg.Connection[Any], output: Any = None) -> None:
        """Completes the task in a transaction of yours, so that what it wrote and the task's end are one: exactly once.

        `connection` is one to the database that pgflow is in. Call this last, commit at once, and return; what the
        handler returns does not count then. Raises `TaskCancelled` when the task is not ours any more: let it pass, so
        that your transaction is rolled back. An exception after this is a failed attempt, as ever; when the handler
        returns and the transaction was rolled back after all, the task is given back.

        ```python
        with psycopg.connect(DATABASE) as connection:
            connection.execute("UPDATE accounts SET balance = balance - 5 WHERE id = 17")
            ctx.complete(connection, {"paid": 5})
        ```
        """
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(_COMPLETE, self._completion(output))
            self._conclude(cursor.fetchone())

    async def complete_async(self, connection: psycopg.AsyncConnection[Any], output: Any = None) -> None:
        """`complete` for coroutines."""
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_COMPLETE, self._completion(output))
            self._conclude(await cursor.fetchone())

    def _completion(self, output: Any) -> tuple[Any, ...]:
        return (self.run_id, self.step_slug, encode(output), self.task_index, self.lease)

    def _conclude(self, row: tuple[Any, ...] | None) -> None:
        if row is None or not row[0]:
            self.cancelled.set()
            raise TaskCancelled(f"{self.idempotency_key} is another's, or its run has ended")
        self.is_settled = True

    def raise_if_cancelled(self) -> None:
        """For long handlers in threads, between two pieces of work: raises `TaskCancelled` when they should stop."""
        if self.cancelled.is_set():
            raise TaskCancelled(f"{self.idempotency_key} is cancelled")
