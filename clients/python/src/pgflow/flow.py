"""Flows: which steps there are, what waits for what, and which function does which step.

A flow is checked line by line as it is defined: a step can only depend on steps above it, so there are no unknown deps
and no cycles. What only the server can know (whether a target is a function, say) is checked by `Client.define`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from .encoding import encode
from .errors import DefinitionError
from .handler import Handler

Function = TypeVar("Function", bound=Callable[..., Any])
StepRef = str | Callable[..., Any]
"""A step: its slug, or the decorated function."""
Executor = Literal["worker", "sql", "http", "flow", "external", "timer"]
Outcome = Literal["fail", "skip", "skip-cascade"]

_SLUG = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,127}", re.ASCII)
_RESERVED = ("run", "item")
_EXECUTORS = ("worker", "sql", "http", "flow", "external", "timer")
_OUTCOMES = ("fail", "skip", "skip-cascade")
_MAX_INT = 2_147_483_647
# Whole numbers, with the least that each may be.
_WHOLE = {"max_attempts": 1, "base_delay": 0, "max_delay": 0, "timeout": 1, "run_timeout": 1, "start_delay": 0}
_CHOICES = {"when_unmet": _OUTCOMES, "when_exhausted": _OUTCOMES, "start_mode": ("auto", "manual")}


class StepOptions(TypedDict, total=False):
    """What may be said of any step. Durations are whole seconds; what is not said is as the flow says."""

    max_attempts: int
    """How often a task is tried in all; 1 or more."""
    base_delay: int
    """Seconds before the second attempt; doubles with each further one."""
    timeout: int
    """Seconds that the lease of a task lasts; a worker extends it while the handler runs."""
    start_delay: int
    """Seconds between the moment at which the deps are resolved and the moment at which the tasks are ready."""
    required_input_pattern: Mapping[str, Any]
    """The step is done only if its deps' outputs (for a first step, the payload) contain this."""
    forbidden_input_pattern: Mapping[str, Any]
    """The step is done only if they do not contain this."""
    when_unmet: Outcome
    """What becomes of it otherwise: `fail`, `skip` (the default), `skip-cascade`."""
    when_exhausted: Outcome
    """What becomes of it when no attempt is left: `fail` (the default), `skip`, `skip-cascade`."""
    queue: str
    """Where workers find its tasks; the flow's slug if not said."""
    start_mode: Literal["auto", "manual"]
    """`manual`: waits for `RunHandle.start_step`."""


@dataclass(frozen=True)
class Step:
    """A step as it was defined."""

    slug: str
    deps: tuple[str, ...]
    step_type: Literal["single", "map"]
    map_over: str | None
    executor: Executor | None
    """None: that of the flow."""
    target: str | None
    options: Mapping[str, Any]
    handler: Handler | None
    """None: nobody in this program does it."""


class Flow:
    """A workflow: a graph of steps.

    ```python
    flow = Flow("greeting")

    @flow.step
    def names(run: dict[str, str]) -> list[str]:
        return run["names"].split(",")

    @flow.map(over="names")
    async def greet(name: str, index: int) -> str:
        return f"{index}: hello {name}"

    @flow.step
    def letter(greet: list[str]) -> str:
        return "\\n".join(greet)
    ```

    The options are those of `define_flow`: `max_attempts` (3), `base_delay` (5 s), `max_delay` (3600 s), `timeout`
    (60 s), `run_timeout` (none), `output_step_slug` (none: the outputs of the last steps), `description`, and
    `executor` with `target`, the defaults of steps that are made with `declare`. Raises `DefinitionError`.
    """

    def __init__(
        self,
        slug: str,
        *,
        description: str | None = None,
        max_attempts: int | None = None,
        base_delay: int | None = None,
        max_delay: int | None = None,
        timeout: int | None = None,
        run_timeout: int | None = None,
        output_step_slug: str | None = None,
        executor: Executor | None = None,
        target: str | None = None,
    ) -> None:
        self.slug = slug
        self._steps: dict[str, Step] = {}
        options = {
            "description": description,
            "max_attempts": max_attempts,
            "base_delay": base_delay,
            "max_delay": max_delay,
            "timeout": timeout,
            "run_timeout": run_timeout,
            "output_step_slug": output_step_slug,
            "executor": executor,
            "target": target,
        }
        self._options = {name: value for name, value in options.items() if value is not None}
        where = f"flow {slug!r}"
        _check_slug(where, slug)
        _check_options(where, self._options)
        if executor is not None and executor not in _EXECUTORS:
            raise DefinitionError(f"{where}: executor {executor!r} is none of {', '.join(_EXECUTORS)}")

    def __repr__(self) -> str:
        return f"Flow({self.slug!r}, steps={list(self._steps)})"

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps by slug, in the order of definition."""
        return MappingProxyType(self._steps)

    def queue_of(self, step: Step) -> str:
        """The name of the queue in which workers find the tasks of a step."""
        return str(step.options.get("queue", self.slug))

    # Steps that this program does.

    @overload
    def step(self, handler: Function, /) -> Function: ...

    @overload
    def step(
        self, *, slug: str | None = None, depends_on: Iterable[StepRef] = (), **options: Unpack[StepOptions]
    ) -> Callable[[Function], Function]: ...

    def step(  # type: ignore[misc]  # mypy does not see that the options of both are the same
        self,
        handler: Callable[..., Any] | None = None,
        /,
        *,
        slug: str | None = None,
        depends_on: Iterable[StepRef] = (),
        **options: Unpack[StepOptions],
    ) -> Any:
        """Makes a step of the function below, a coroutine function or an ordinary one.

        Its parameters say what it needs: `run` is the run's payload, the name of a step above is that step's output
        (and so a dep), and `ctx`, or whatever is annotated `Context`, is the attempt. `**others` gets the payload and
        the outputs of all deps that have no parameter of their own. `depends_on` adds what it waits for without asking
        for the output. A dep that was skipped is None, or the parameter's default if it has one.

        It returns what JSON can say. The slug is the function's name unless you say another. Raises `DefinitionError`.
        """

        def define(function: Function) -> Function:
            name = self._slug_for(function, slug)
            where = self._where(name)
            bound = Handler.of_step(where, function, self._steps)
            named = (key for key in bound.keys if key != "run")
            deps = tuple(dict.fromkeys((*self._deps(where, depends_on), *named)))
            self._add(Step(name, deps, "single", None, "worker", None, dict(options), bound))
            return function

        return define if handler is None else define(handler)

    def map(
        self,
        *,
        over: StepRef,
        slug: str | None = None,
        depends_on: Iterable[StepRef] = (),
        **options: Unpack[StepOptions],
    ) -> Callable[[Function], Function]:
        """Makes a map of the function below: a task for each element of the output of step `over`, which is an array.

        `over="run"` takes the elements of the payload; such a step has no deps. The function gets `(item, index)`, or
        only the item, and an attempt like any other; a parameter that has a default keeps it, unless it is called
        `index`. The output is the array of what the calls returned, in the order of the elements. `depends_on` names
        further steps to wait for. Raises `DefinitionError`.
        """

        def define(function: Function) -> Function:
            name = self._slug_for(function, slug)
            where = self._where(name)
            map_over, deps = self._map(where, over, depends_on)
            bound = Handler.of_map(where, function, self._steps)
            self._add(Step(name, deps, "map", map_over, "worker", None, dict(options), bound))
            return function

        return define

    # Steps that others do.

    def sql(
        self,
        slug: str,
        target: str,
        *,
        depends_on: Iterable[StepRef] = (),
        over: StepRef | None = None,
        **options: Unpack[StepOptions],
    ) -> str:
        """Adds a step that the server does: function `target` (`schema.name`), jsonb to jsonb. Returns the slug."""
        return self.declare(slug, executor="sql", target=target, depends_on=depends_on, over=over, **options)

    def http(
        self,
        slug: str,
        target: str,
        *,
        depends_on: Iterable[StepRef] = (),
        over: StepRef | None = None,
        **options: Unpack[StepOptions],
    ) -> str:
        """Adds a step that the HTTP endpoint at URL `target` does. Returns the slug."""
        return self.declare(slug, executor="http", target=target, depends_on=depends_on, over=over, **options)

    def flow(
        self,
        slug: str,
        target: str | Flow,
        *,
        depends_on: Iterable[StepRef] = (),
        over: StepRef | None = None,
        **options: Unpack[StepOptions],
    ) -> str:
        """Adds a step that is done by a run of another flow, of one for each element of `over`. Returns the slug."""
        name = target.slug if isinstance(target, Flow) else target
        return self.declare(slug, executor="flow", target=name, depends_on=depends_on, over=over, **options)

    def external(
        self,
        slug: str,
        *,
        target: str | None = None,
        depends_on: Iterable[StepRef] = (),
        over: StepRef | None = None,
        **options: Unpack[StepOptions],
    ) -> str:
        """Adds a step that somebody outside ends: `RunHandle.complete_step`, or the event that `target` names.

        Returns the slug.
        """
        return self.declare(slug, executor="external", target=target, depends_on=depends_on, over=over, **options)

    def timer(
        self,
        slug: str,
        *,
        target: str | None = None,
        depends_on: Iterable[StepRef] = (),
        over: StepRef | None = None,
        **options: Unpack[StepOptions],
    ) -> str:
        """Adds a step that ends by itself: after `start_delay` seconds, or when a value in its input says.

        `target` is a JSON pointer to that value, such as `/run/remind_at`. Returns the slug.
        """
        return self.declare(slug, executor="timer", target=target, depends_on=depends_on, over=over, **options)

    def declare(
        self,
        slug: str,
        *,
        executor: Executor | None = None,
        target: str | None = None,
        depends_on: Iterable[StepRef] = (),
        over: StepRef | None = None,
        **options: Unpack[StepOptions],
    ) -> str:
        """Adds a step that this program does not do: by the executor of the flow, or of its own.

        With executor `worker` it is for a worker elsewhere; give it a `queue` of its own then. `over` makes it a map.
        Returns the slug. Raises `DefinitionError`.
        """
        where = self._where(slug)
        if executor is not None and executor not in _EXECUTORS:
            raise DefinitionError(f"{where}: executor {executor!r} is none of {', '.join(_EXECUTORS)}")
        if executor in ("sql", "http", "flow") and target is None:
            raise DefinitionError(f"{where}: a step of executor {executor!r} needs a target")
        if target is not None and not isinstance(target, str):
            raise DefinitionError(f"{where}: target {target!r} is not a string")
        if over is None:
            deps = self._deps(where, depends_on)
            self._add(Step(slug, deps, "single", None, executor, target, dict(options), None))
        else:
            map_over, deps = self._map(where, over, depends_on)
            self._add(Step(slug, deps, "map", map_over, executor, target, dict(options), None))
        return slug

    # What comes of it.

    def definition(self) -> dict[str, Any]:
        """The document of `pgflow.define_flow`, for `Client.define`, a migration or a file.

        Raises `DefinitionError` if the flow's `output_step_slug` is none of its steps.
        """
        output = self._options.get("output_step_slug")
        if output is not None and output not in self._steps:
            raise DefinitionError(
                f"flow {self.slug!r}: output_step_slug {output!r} is none of its steps{self._known()}"
            )
        return {
            "flow_slug": self.slug,
            **self._options,
            "steps": [self._document(step) for step in self._steps.values()],
        }

    def _document(self, step: Step) -> dict[str, Any]:
        document: dict[str, Any] = {"step_slug": step.slug}
        if step.deps:
            document["deps_slugs"] = list(step.deps)
        if step.step_type == "map":
            document["step_type"] = "map"
            if len(step.deps) > 1:
                document["map_over"] = step.map_over
        if step.executor not in (None, self._options.get("executor", "worker")):
            document["executor"] = step.executor
        if step.target is not None:
            document["target"] = step.target
        elif step.executor is not None and "target" in self._options:
            # Otherwise it would have the flow's.
            document["target"] = None
        return document | dict(step.options)

    def _where(self, slug: str) -> str:
        return f"flow {self.slug!r}: step {slug!r}"

    def _known(self) -> str:
        return f"; there are: {', '.join(self._steps)}" if self._steps else "; there is none yet"

    def _slug_for(self, function: Callable[..., Any], slug: str | None) -> str:
        if slug is not None:
            return slug
        name = getattr(function, "__name__", None)
        if not isinstance(name, str):
            raise DefinitionError(f"flow {self.slug!r}: {function!r} has no name; give the step a slug")
        return name

    def _slug_of(self, where: str, step: StepRef) -> str:
        if isinstance(step, str):
            if step not in self._steps:
                raise DefinitionError(f"{where}: depends on {step!r}, which is no step above it{self._known()}")
            return step
        for known in self._steps.values():
            if known.handler is not None and known.handler.function is step:
                return known.slug
        raise DefinitionError(f"{where}: depends on {step!r}, which is no step above it{self._known()}")

    def _deps(self, where: str, steps: Iterable[StepRef]) -> tuple[str, ...]:
        if isinstance(steps, str):
            raise DefinitionError(f"{where}: depends_on is a list of steps, not the string {steps!r}")
        return tuple(dict.fromkeys(self._slug_of(where, step) for step in steps))

    def _map(self, where: str, over: StepRef, depends_on: Iterable[StepRef]) -> tuple[str | None, tuple[str, ...]]:
        others = self._deps(where, depends_on)
        if over == "run":
            if others:
                raise DefinitionError(
                    f"{where}: a map over the payload starts with the run and has no deps; it has {', '.join(others)}"
                )
            return None, ()
        source = self._slug_of(where, over)
        return source, (source, *(dep for dep in others if dep != source))

    def _add(self, step: Step) -> None:
        where = self._where(step.slug)
        _check_slug(where, step.slug)
        if step.slug == "ctx":
            raise DefinitionError(f"{where}: 'ctx' is reserved; it is the parameter that gets the attempt")
        if step.slug in self._steps:
            raise DefinitionError(f"{where}: there is a step of that name already")
        unknown = sorted(set(step.options) - StepOptions.__optional_keys__)
        if unknown:
            raise DefinitionError(f"{where}: unknown option {', '.join(unknown)}")
        _check_options(where, step.options)
        self._steps[step.slug] = step


def _check_slug(where: str, slug: str) -> None:
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise DefinitionError(f"{where}: a slug is 1 to 128 letters, digits and underscores, and begins with no digit")
    if slug in _RESERVED:
        raise DefinitionError(f"{where}: {slug!r} is reserved; it is a key of inputs")


def _check_options(where: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in _WHOLE:
            least = _WHOLE[name]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MAX_INT:
                raise DefinitionError(f"{where}: {name} {value!r} is not a whole number of {least} or more")
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise DefinitionError(f"{where}: {name} {value!r} is none of {', '.join(_CHOICES[name])}")
        elif name in ("required_input_pattern", "forbidden_input_pattern"):
            if not isinstance(value, Mapping):
                raise DefinitionError(f"{where}: {name} {value!r} is not an object")
            try:
                encode(value)
            except (TypeError, ValueError, RecursionError) as error:
                raise DefinitionError(f"{where}: {name} is not JSON: {error}") from error
        elif name == "queue" and (not isinstance(value, str) or not 1 <= len(value) <= 128):
            raise DefinitionError(f"{where}: queue {value!r} is not 1 to 128 characters")
