"""What a handler may know about the attempt that it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from uuid import UUID

from .errors import TaskCancelled


@dataclass(frozen=True, slots=True)
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

    def raise_if_cancelled(self) -> None:
        """For long handlers in threads, between two pieces of work: raises `TaskCancelled` when they should stop."""
        if self.cancelled.is_set():
            raise TaskCancelled(f"{self.idempotency_key} is cancelled")
