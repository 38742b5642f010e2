"""The calls of a client: a statement, its parameters and what its answer means, the same for both kinds of client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, LiteralString, TypeVar
from uuid import UUID

from .encoding import decode, encode
from .errors import NotFound, RunCancelled, RunFailed
from .flow import Flow
from .state import RunState

T = TypeVar("T")
Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Call(Generic[T]):
    statement: LiteralString
    parameters: tuple[Any, ...]
    answer: Callable[[Rows], T]
    repeatable: bool
    """Whether it does no harm if it is sent again because the connection broke before the answer came."""


@dataclass(frozen=True)
class Definition:
    """What `define` found."""

    flow_slug: str
    version: int
    """The latest version, which new runs take."""
    changed: bool
    """Whether this call changed anything."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    output: Any
    failure: RunFailed | None


def slug(flow: str | Flow) -> str:
    return flow.slug if isinstance(flow, Flow) else flow


def _first(rows: Rows) -> Any:
    return rows[0][0]


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))


def define(flow: Flow | dict[str, Any]) -> Call[Definition]:
    document = flow.definition() if isinstance(flow, Flow) else flow
    return Call(
        "SELECT flow_slug, version, changed FROM pgflow.define_flow(%s::jsonb)",
        (encode(document),),
        lambda rows: Definition(*rows[0]),
        repeatable=True,
    )


def run(
    flow: str | Flow,
    payload: Any,
    key: str | None,
    idempotency_key: str | None,
    priority: int,
    start_at: datetime | None,
) -> Call[UUID]:
    if start_at is not None and start_at.utcoffset() is None:
        raise ValueError(f"start_at {start_at!r} has no time zone: say datetime.now(UTC), or add .astimezone()")
    return Call(
        "SELECT pgflow.run_flow(%s, %s::jsonb, idempotency_key => %s, priority => %s, start_at => %s, key => %s)",
        (slug(flow), encode({} if payload is None else payload), idempotency_key, priority, start_at, key),
        lambda rows: _uuid(_first(rows)),
        repeatable=idempotency_key is not None,
    )


def run_many(
    flow: str | Flow, payloads: Iterable[Any], idempotency_keys: Iterable[str | None] | None, priority: int
) -> Call[list[UUID]]:
    keys = None if idempotency_keys is None else list(idempotency_keys)
    return Call(
        "SELECT run_id FROM pgflow.run_flows(%s, %s::text[]::jsonb[], %s::text[], %s) "
        "WITH ORDINALITY run (run_id, n) ORDER BY n",
        (slug(flow), [encode(payload) for payload in payloads], keys, priority),
        lambda rows: [_uuid(row[0]) for row in rows],
        repeatable=keys is not None and None not in keys,
    )


def send_event(name: str, payload: Any, key: str | None) -> Call[int]:
    return Call(
        "SELECT pgflow.send_event(%s, %s::jsonb, %s)",
        (name, encode({} if payload is None else payload), key),
        lambda rows: int(_first(rows)),
        repeatable=False,
    )


def look(run_id: UUID) -> Call[Ended | None]:
    """Whether the run has ended, and how."""

    def answer(rows: Rows) -> Ended | None:
        if not rows:
            raise NotFound("run not found", "PT404", f'There is no run "{run_id}".')
        status, flow_slug, message, output, step_slug = rows[0]
        if status == "completed":
            return Ended(None if output is None else decode(output), None)
        if status in ("failed", "cancelled"):
            kind = RunFailed if status == "failed" else RunCancelled
            return Ended(None, kind(run_id, flow_slug, status, step_slug, message))
        return None

    return Call(
        """
        SELECT r.status, r.flow_slug, r.error_message,
               CASE WHEN r.status = 'completed' THEN r.output::text END,
               CASE WHEN r.status = 'failed' THEN (
                 SELECT s.step_slug FROM pgflow.step_states s
                 WHERE s.run_id = r.run_id AND s.status = 'failed' ORDER BY s.finished_at LIMIT 1) END
        FROM pgflow.runs r
        WHERE r.run_id = %s
        """,
        (run_id,),
        answer,
        repeatable=True,
    )


def status(run_id: UUID) -> Call[str]:
    def answer(rows: Rows) -> str:
        if not rows:
            raise NotFound("run not found", "PT404", f'There is no run "{run_id}".')
        return str(_first(rows))

    return Call("SELECT status FROM pgflow.runs WHERE run_id = %s", (run_id,), answer, repeatable=True)


def state(run_id: UUID) -> Call[RunState]:
    return Call(
        "SELECT pgflow.get_run(%s)::text", (run_id,), lambda rows: RunState.of(decode(_first(rows))), repeatable=True
    )


def svg(run_id: UUID) -> Call[str]:
    return Call("SELECT pgflow.run_svg(%s)::text", (run_id,), lambda rows: str(_first(rows)), repeatable=True)


def cancel(run_id: UUID, reason: str | None) -> Call[str]:
    return Call(
        "SELECT (pgflow.cancel_run(%s, %s)).status", (run_id, reason), lambda rows: str(_first(rows)), repeatable=True
    )


def retry(run_id: UUID) -> Call[str]:
    return Call("SELECT (pgflow.retry_run(%s)).status", (run_id,), lambda rows: str(_first(rows)), repeatable=False)


def fork(run_id: UUID, from_steps: Iterable[str], payload: Any) -> Call[UUID]:
    return Call(
        "SELECT pgflow.fork_run(%s, %s::text[], %s::jsonb)",
        (run_id, list(from_steps), None if payload is None else encode(payload)),
        lambda rows: _uuid(_first(rows)),
        repeatable=False,
    )


def start_step(run_id: UUID, step_slug: str) -> Call[str]:
    return Call(
        "SELECT (pgflow.start_step(%s, %s)).status",
        (run_id, step_slug),
        lambda rows: str(_first(rows)),
        repeatable=True,
    )


def complete_step(run_id: UUID, step_slug: str, output: Any) -> Call[bool]:
    return Call(
        "SELECT accepted FROM pgflow.complete_step(%s, %s, %s::jsonb)",
        (run_id, step_slug, encode(output)),
        lambda rows: bool(_first(rows)),
        repeatable=False,
    )


def fail_step(run_id: UUID, step_slug: str, message: str) -> Call[bool]:
    return Call(
        "SELECT accepted FROM pgflow.fail_step_task(%s, %s, %s, retryable => false)",
        (run_id, step_slug, message),
        lambda rows: bool(_first(rows)),
        repeatable=False,
    )
