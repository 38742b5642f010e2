"""A claimed task, what its handler made of it, and how that is said to the server."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from .context import Context
from .encoding import decode, encode, plain
from .errors import NonRetryable, RetryAfter, TaskCancelled
from .handler import Handler

_HERE = str(Path(__file__).parent)
_FRAMES, _CAUSES, _MEMBERS, _MESSAGE, _CHARACTERS = 5, 3, 5, 4_000, 8_000

SETTLED = ""
"""The handler has told the server itself."""
RELEASE = '"release":true'
"""Hands the task back: the same attempt is ready again."""


@dataclass(eq=False, slots=True)
class Task:
    """An attempt at a task that this worker holds the lease of. Times are of time.monotonic()."""

    run_id: str
    step_slug: str
    task_index: int
    lease: int
    input: str
    handler: Handler
    context: Context
    claimed_at: float
    lease_span: float
    """Seconds."""
    extend_at: float
    started_at: float = 0.0
    scope: contextvars.Context = field(default_factory=contextvars.Context, repr=False)
    """The context variables that its handler sees."""
    is_lost: bool = False
    """The lease is another's, or the run has ended: nobody wants the result."""
    is_given_back: bool = False
    coroutine: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"{self.context.flow_slug} {self.context.idempotency_key} attempt {self.context.attempt}"

    def result(self, verdict: str) -> Result:
        """The verdict as an element of what settle_and_claim takes."""
        return Result(self, verdict)

    def call(self) -> Any:
        """Calls the handler: its output, or what is to be awaited for it."""
        return self.handler.call(decode(self.input), self.context)


@dataclass(eq=False, slots=True)
class Result:
    task: Task
    verdict: str
    failures: int = 0
    """How often the server failed at it alone."""

    @property
    def text(self) -> str:
        task = self.task
        return (
            f'{{"run_id":"{task.run_id}","step_slug":"{task.step_slug}","task_index":{task.task_index},'
            f'"lease":{task.lease},{self.verdict}}}'
        )


def claimed(row: tuple[Any, ...], handler: Handler, worker_id: str, called_at: float) -> Task:
    """The task of a row of the claim. Its lease is counted from before the call, so it ends no later than we think."""
    run_id, flow_slug, step_slug, task_index, attempt, input, lease, lease_span = row
    lease_span = max(lease_span, 0.5)
    return Task(
        run_id=run_id,
        step_slug=step_slug,
        task_index=task_index,
        lease=lease,
        input=input,
        handler=handler,
        context=Context(UUID(run_id), flow_slug, step_slug, task_index, attempt, worker_id, lease=lease),
        claimed_at=called_at,
        lease_span=lease_span,
        extend_at=called_at + lease_span / 2,
    )


def completed(output: Any, context: Context) -> str:
    """What is said of an output; of one that is not JSON, that the attempt failed."""
    if context.is_settled:
        return SETTLED
    try:
        return '"output":' + encode(output)
    except RecursionError:
        return rejected("the output is nested too deep, or contains itself")
    except (TypeError, ValueError) as error:
        return rejected(f"the output is not JSON: {error}")


def rejected(message: str) -> str:
    """What is said of an attempt that failed otherwise than by an exception of its handler."""
    return '"error_message":' + encode(plain(message, _CHARACTERS))


def failed(error: BaseException) -> str:
    """What is said of an attempt whose handler raised this."""
    if isinstance(error, NonRetryable):
        return rejected(_text(error) or type(error).__name__) + ',"retryable":false'
    # A subclass may have forgotten to say when.
    if isinstance(error, RetryAfter) and hasattr(error, "seconds"):
        return rejected(_text(error)) + f',"retry_after":{error.seconds}'
    return rejected(describe(error))


def abandoned(error: BaseException, task: Task) -> bool:
    """Whether the handler stopped because it was told to."""
    told = (TaskCancelled, asyncio.CancelledError)
    return task.context.cancelled.is_set() and all(isinstance(one, told) for one in _inside(error))


def describe(error: BaseException) -> str:
    """What was raised, in the first line, where, and because of what; of a group, what is in it."""
    lines: list[str] = []
    told: set[int] = set()
    # What is to be told, the next one last, and how many causes it is away.
    untold: list[tuple[str, BaseException, int]] = [("", error, 0)]
    while untold:
        label, seen, distance = untold.pop()
        if id(seen) in told:
            continue
        told.add(id(seen))
        message = plain(_text(seen), _MESSAGE)
        lines.append(label + (f"{type(seen).__name__}: {message}" if message else type(seen).__name__))
        frames = traceback.extract_tb(seen.__traceback__)
        # Our own are no news.
        frames[:] = [frame for frame in frames if not frame.filename.startswith(_HERE)]
        lines += [f"  at {frame.name} ({frame.filename}:{frame.lineno}): {frame.line}" for frame in frames[-_FRAMES:]]
        if seen.__cause__ is not None and distance + 1 < _CAUSES:
            untold.append(("caused by ", seen.__cause__, distance + 1))
        if isinstance(seen, BaseExceptionGroup):
            inside = _inside(seen)
            if len(inside) > _MEMBERS:
                lines.append(f"{len(inside)} errors in all, the first {_MEMBERS} of which are:")
            untold += [("one of them ", one, distance) for one in reversed(inside[:_MEMBERS])]
    return "\n".join(lines)


def _inside(error: BaseException) -> list[BaseException]:
    """What is in a group and in the groups in it; another exception is the only one."""
    found: list[BaseException] = []
    left = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left += reversed(one.exceptions)
        else:
            found.append(one)
    return found


def without_ours(error: BaseException) -> BaseException:
    """The exception with a traceback that begins in the handler."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return error.with_traceback(trace) if trace is not None else error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception whose __str__ raises is still an exception
        return "(its message cannot be read)"
