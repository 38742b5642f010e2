"""What can go wrong, as exceptions.

Lost connections and whatever else PostgreSQL says of itself come as the exceptions of psycopg. What pgflow refuses
comes as one of `Refused`, and a run that did not complete as `RunFailed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg


class PgflowError(Exception):
    """The base of all exceptions of this package."""


class DefinitionError(PgflowError, ValueError):
    """A flow is not defined rightly; raised by the line that defines it."""


class Refused(PgflowError):
    """pgflow refused a call, and nothing has changed.

    The text is the message with what the server adds to it. The subclasses say which kind of refusal it is.
    """

    def __init__(self, message: str, sqlstate: str, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__("\n".join(part for part in (message, detail, hint) if part))
        self.message = message
        """One line."""
        self.sqlstate = sqlstate
        """Five characters, to branch on: PT404, PT409, 22023, 22004, 42501."""
        self.detail = detail
        """The values that it is about, or everything that is wrong with a definition."""
        self.hint = hint
        """What to do about it."""


class NotFound(Refused):
    """There is no such flow, run, step or task, or none that the caller may see (PT404)."""


class Conflict(Refused):
    """It exists already, or is not in a state that allows this (PT409)."""


class InvalidValue(Refused, ValueError):
    """A value is missing, out of its domain or over a limit (22004, 22023)."""


class NotAllowed(Refused):
    """The role lacks a capability or a grant (42501)."""


class RunFailed(PgflowError):
    """A run that was waited for did not complete."""

    def __init__(self, run_id: UUID, flow_slug: str, status: str, step_slug: str | None, message: str | None) -> None:
        where = f" in step {step_slug}" if step_slug is not None else ""
        super().__init__(f"run {run_id} of flow {flow_slug} is {status}{where}: {message or 'no message'}")
        self.run_id = run_id
        self.flow_slug = flow_slug
        self.status = status
        """`failed`, or `cancelled` in a `RunCancelled`."""
        self.step_slug = step_slug
        """The step that failed first; None when the run was cancelled or ran out of time."""
        self.message = message
        """Why: what the handler raised, or the reason that was given to `cancel`."""


class RunCancelled(RunFailed):
    """A run that was waited for was cancelled."""


class NonRetryable(PgflowError):
    """Raised by a handler: another attempt would fail as well.

    The task has failed for good, and the step's `when_exhausted` decides.
    """


class RetryAfter(PgflowError):
    """Raised by a handler: this attempt has failed, try again in so many seconds.

    They take the place of the step's `base_delay`. `max_attempts` still counts.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if not 0 <= seconds <= 2_147_483_647:
            raise ValueError(f"seconds {seconds!r} is out of range: it must be 0 or more")
        self.seconds = math.ceil(seconds)
        """Whole seconds, rounded up."""
        super().__init__(message or f"try again in {self.seconds} s")


class TaskCancelled(PgflowError):
    """Raised by `Context.raise_if_cancelled`: the work is in vain. Let it pass; the worker knows."""


_REFUSALS: dict[str, type[Refused]] = {
    "PT404": NotFound,
    "PT409": Conflict,
    "22023": InvalidValue,
    "22004": InvalidValue,
    "42501": NotAllowed,
}


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what pgflow refuses into `Refused`; other errors of the database pass."""
    try:
        yield
    except psycopg.Error as error:
        kind = _REFUSALS.get(error.sqlstate or "")
        if kind is None:
            raise
        said = error.diag
        raise kind(
            said.message_primary or str(error), error.sqlstate or "", said.message_detail, said.message_hint
        ) from error
