"""Where a run stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


def _time(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


@dataclass(frozen=True)
class StepState:
    """Where a step of a run stands."""

    step_slug: str
    status: str
    """`pending`, `started`, `completed`, `failed`, `skipped` or `cancelled`."""
    output: Any
    error_message: str | None
    skip_reason: str | None
    """`condition_unmet`, `handler_failed` or `dependency_skipped`."""
    deps_slugs: tuple[str, ...]
    executor: str
    step_type: str
    """`single` or `map`."""
    initial_tasks: int | None
    """How many tasks it has; None as long as nobody knows."""
    completed_tasks: int
    attempts: int
    failed_attempts: int
    """Attempts that failed, or whose lease ran out."""
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class RunState:
    """Where a run and its steps stand, as of one moment."""

    run_id: UUID
    flow_slug: str
    flow_version: int
    status: str
    """`pending`, `started`, `completed`, `failed` or `cancelled`."""
    payload: Any
    output: Any
    error_message: str | None
    key: str | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    steps: Mapping[str, StepState]
    """By slug, in the order of the flow."""
    raw: Mapping[str, Any] = field(repr=False)
    """All that `pgflow.get_run` says."""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> RunState:
        run = raw["run"]
        return cls(
            run_id=UUID(run["run_id"]),
            flow_slug=run["flow_slug"],
            flow_version=run["flow_version"],
            status=run["status"],
            payload=run["payload"],
            output=run["output"],
            error_message=run["error_message"],
            key=run["key"],
            created_at=_time(run["created_at"]),
            started_at=_time(run["started_at"]),
            finished_at=_time(run["finished_at"]),
            steps={
                step["step_slug"]: StepState(
                    step_slug=step["step_slug"],
                    status=step["status"],
                    output=step["output"],
                    error_message=step["error_message"],
                    skip_reason=step["skip_reason"],
                    deps_slugs=tuple(step["deps_slugs"]),
                    executor=step["executor"],
                    step_type=step["step_type"],
                    initial_tasks=step["initial_tasks"],
                    completed_tasks=step["completed_tasks"],
                    attempts=step["attempts"],
                    failed_attempts=step["failed_attempts"],
                    started_at=_time(step["started_at"]),
                    finished_at=_time(step["finished_at"]),
                )
                for step in raw["steps"]
            },
            raw=raw,
        )
