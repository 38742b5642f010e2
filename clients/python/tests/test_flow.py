"""Flows are defined as they are meant, and a wrong line says what is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from pgflow import Context, DefinitionError, Flow


def test_parameters_are_deps() -> None:
    flow = Flow("documents", max_attempts=5, description="words")

    @flow.step
    def split(run: Any) -> list[str]:
        return []

    @flow.map(over="split", timeout=30)
    def extract(section: str, index: int, ctx: Context) -> int:
        return index

    @flow.step(slug="index", depends_on=["split"], when_exhausted="skip")
    def make_index(extract: list[int], run: Any, *, ctx: Any) -> None: ...

    assert flow.definition() == {
        "flow_slug": "documents",
        "description": "words",
        "max_attempts": 5,
        "steps": [
            {"step_slug": "split"},
            {"step_slug": "extract", "deps_slugs": ["split"], "step_type": "map", "timeout": 30},
            {"step_slug": "index", "deps_slugs": ["split", "extract"], "when_exhausted": "skip"},
        ],
    }
    assert list(flow.steps) == ["split", "extract", "index"]


def test_the_decorated_function_stays_a_function_and_names_its_step() -> None:
    flow = Flow("f")

    @flow.step(slug="other_name")
    def first(run: int) -> int:
        return run + 1

    @flow.map(over=first)
    def second(item: int) -> int:
        return item

    @flow.step(depends_on=[second])
    async def third() -> None: ...

    assert first(1) == 2
    assert flow.steps["second"].deps == ("other_name",)
    assert flow.steps["third"].deps == ("second",)


def test_a_step_may_be_called_index() -> None:
    flow = Flow("f")

    @flow.step
    def index(run: int) -> list[int]:
        return [run]

    @flow.map(over="index")
    def each(item: int, index: int) -> int:
        return item + index

    @flow.step
    def last(index: list[int], each: list[int]) -> int:
        return len(index) + len(each)

    assert flow.steps["each"].deps == ("index",)
    assert flow.steps["last"].deps == ("index", "each")


def test_steps_of_every_executor() -> None:
    child = Flow("child")
    flow = Flow("f", output_step_slug="wait")
    flow.sql("sql", "public.gather")
    flow.http("http", "https://example.com/x", depends_on=["sql"], over="sql", max_attempts=2)
    flow.flow("child", child, over="http")
    flow.external("approve", target="approved", depends_on=["child"], timeout=60)
    flow.timer("wait", target="/run/at", depends_on=["approve"], start_delay=3)
    flow.declare("elsewhere", queue="gpu", start_mode="manual")
    assert flow.definition()["steps"] == [
        {"step_slug": "sql", "executor": "sql", "target": "public.gather"},
        {
            "step_slug": "http",
            "deps_slugs": ["sql"],
            "step_type": "map",
            "executor": "http",
            "target": "https://example.com/x",
            "max_attempts": 2,
        },
        {"step_slug": "child", "deps_slugs": ["http"], "step_type": "map", "executor": "flow", "target": "child"},
        {"step_slug": "approve", "deps_slugs": ["child"], "executor": "external", "target": "approved", "timeout": 60},
        {"step_slug": "wait", "deps_slugs": ["approve"], "executor": "timer", "target": "/run/at", "start_delay": 3},
        {"step_slug": "elsewhere", "queue": "gpu", "start_mode": "manual"},
    ]


def test_the_executor_of_a_flow_is_not_that_of_its_functions() -> None:
    flow = Flow("f", executor="http", target="https://example.com/f")
    flow.declare("there")

    @flow.step
    def here(there: int) -> None: ...

    flow.timer("later", start_delay=1)
    assert flow.definition()["steps"] == [
        {"step_slug": "there"},
        {"step_slug": "here", "deps_slugs": ["there"], "executor": "worker", "target": None},
        {"step_slug": "later", "executor": "timer", "target": None, "start_delay": 1},
    ]


def test_a_map_over_the_payload_and_one_of_several_deps() -> None:
    flow = Flow("f")

    @flow.map(over="run")
    def each(item: int) -> int:
        return item

    flow.sql("other", "public.other")

    @flow.map(over="each", depends_on=["other", "each"])
    def both(index: int, value: int) -> int:
        return index + value

    assert flow.definition()["steps"][0] == {"step_slug": "each", "step_type": "map"}
    assert flow.definition()["steps"][2] == {
        "step_slug": "both",
        "deps_slugs": ["each", "other"],
        "step_type": "map",
        "map_over": "each",
    }


@pytest.mark.parametrize(
    ("function", "output"),
    [
        (lambda item, quality=80: [item, quality], ["a", 80]),
        (lambda item, *, verbose=False: [item, verbose], ["a", False]),
        (lambda item, place, quality=80: [item, place, quality], ["a", 7, 80]),
        (lambda thing, quality=80, index=0, *, loud=True: [thing, quality, index, loud], ["a", 80, 7, True]),
        (lambda thing, quality=80, index=0, /: [thing, quality, index], ["a", 80, 7]),
        (lambda quality=80, *, item: [quality, item], [80, "a"]),
        (lambda *, quality=80, thing: [quality, thing], [80, "a"]),
        (lambda thing="none": [thing], ["a"]),
    ],
)
def test_a_map_leaves_defaults_alone(function: Callable[..., Any], output: list[Any]) -> None:
    flow = Flow("f")
    flow.map(slug="each", over="run")(function)
    handler = flow.steps["each"].handler
    assert handler is not None
    ctx = Context(UUID(int=1), "f", "each", 7, 1, "worker")
    assert handler.call({"item": "a", "index": 7}, ctx) == output


def _generator(run: Any) -> Iterator[int]:
    yield 1


def _add(define: Callable[[Flow], object]) -> str:
    flow = Flow("f")

    @flow.step
    def first(run: int) -> list[int]:
        return []

    with pytest.raises(DefinitionError) as raised:
        define(flow)
    assert list(flow.steps) == ["first"], "a wrong step leaves nothing behind"
    return str(raised.value)


def test_wrong_steps() -> None:
    def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        function.__name__ = name
        return function

    wrong: list[tuple[Callable[[Flow], object], str]] = [
        (
            lambda f: f.step(named("x", lambda frist: 0)),
            "parameter 'frist' is no step above it; there are: run, ctx, first",
        ),
        (lambda f: f.step(named("x", lambda *a: 0)), "*a has no names"),
        (
            lambda f: f.step(depends_on=["frist"])(named("x", lambda: 0)),
            "depends on 'frist', which is no step above it",
        ),
        (lambda f: f.step(depends_on="first")(named("x", lambda: 0)), "not the string 'first'"),
        (lambda f: f.step(depends_on=[_generator])(named("x", lambda: 0)), "which is no step above it"),
        (lambda f: f.step(named("first", lambda run: 0)), "there is a step of that name already"),
        (lambda f: f.step(named("run", lambda: 0)), "'run' is reserved"),
        (lambda f: f.step(slug="a-b")(named("x", lambda: 0)), "a slug is"),
        (lambda f: f.step(slug="ä")(named("x", lambda: 0)), "a slug is"),
        (lambda f: f.step(slug="a" * 129)(named("x", lambda: 0)), "a slug is"),
        (lambda f: f.step(named("<lambda>", lambda: 0)), "a slug is"),
        (lambda f: f.step(functools.partial(_generator, 1)), "has no name"),
        (lambda f: f.step(_generator), "a generator"),
        (lambda f: f.step(max_attempts=0)(named("x", lambda: 0)), "max_attempts 0 is not a whole number of 1 or more"),
        (lambda f: f.step(timeout=1.5)(named("x", lambda: 0)), "timeout 1.5 is not"),  # type: ignore[call-overload]
        (lambda f: f.step(base_delay=True)(named("x", lambda: 0)), "base_delay True is not"),
        (lambda f: f.step(when_unmet="explode")(named("x", lambda: 0)), "none of fail"),  # type: ignore[call-overload]
        (lambda f: f.step(retries=3)(named("x", lambda: 0)), "unknown option retries"),  # type: ignore[call-overload]
        (lambda f: f.step(required_input_pattern=[1])(named("x", lambda: 0)), "is not an object"),  # type: ignore[call-overload]
        (lambda f: f.step(required_input_pattern={"a": {1}})(named("x", lambda: 0)), "is not JSON"),
        (lambda f: f.step(queue="")(named("x", lambda: 0)), "queue '' is not"),
        (lambda f: f.step(named("x", lambda ctx, attempt=Context: 0)), "parameter 'attempt' is no step"),
        (lambda f: f.step(named("ctx", lambda: 0)), "'ctx' is reserved"),
        (lambda f: f.declare("ctx"), "'ctx' is reserved"),
        (lambda f: f.map(over="first")(named("x", lambda a, b, c: 0)), "one too many"),
        (lambda f: f.map(over="first")(named("x", lambda first: 0)), "(item, index) alone"),
        (lambda f: f.map(over="first")(named("x", lambda **rest: 0)), "no other keywords"),
        (lambda f: f.map(over="x")(named("x", lambda item: 0)), "depends on 'x'"),
        (lambda f: f.map(over="run", depends_on=["first"])(named("x", lambda item: 0)), "has no deps; it has first"),
        (lambda f: f.declare("x", executor="sql"), "needs a target"),
        (lambda f: f.declare("x", executor="lambda"), "executor 'lambda' is none of"),  # type: ignore[arg-type]
        (lambda f: f.sql("x", "public.x", depends_on=["x"]), "depends on 'x'"),
    ]
    for define, message in wrong:
        assert message in _add(define)


def test_wrong_flows() -> None:
    for slug in ("", "1a", "a b", "run", "a" * 129):
        with pytest.raises(DefinitionError):
            Flow(slug)
    with pytest.raises(DefinitionError, match="max_delay -1"):
        Flow("f", max_delay=-1)
    with pytest.raises(DefinitionError, match="executor 'x'"):
        Flow("f", executor="x")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="output_step_slug 'last' is none of its steps"):
        Flow("f", output_step_slug="last").definition()
