"""What type checkers see. mypy checks this file; that it runs, too, is beside the point."""

from __future__ import annotations

from typing import Any, assert_type

from pgflow import Client, Definition, Flow, RunHandle, RunState


def test_types() -> None:
    flow = Flow("f")

    @flow.step
    def one(run: str) -> int:
        return len(run)

    @flow.step(timeout=5)
    async def two(one: int) -> str:
        return str(one)

    @flow.map(over=two)
    def three(item: str, index: int) -> bool:
        return item == str(index)

    # Decorated functions are what they were.
    assert_type(one("a"), int)
    assert_type(three("1", 1), bool)
    assert_type(flow.timer("wait", start_delay=1), str)
    flow.definition()


def uses(client: Client, flow: Flow) -> None:
    assert_type(client.define(flow), Definition)
    run = client.run(flow, {"a": 1})
    assert_type(run, RunHandle)
    assert_type(run.wait(), Any)
    assert_type(run.state(), RunState)
    flow.step(max_attempt=5)  # type: ignore[call-overload]
    flow.step(timeout="5")  # type: ignore[call-overload]
    flow.map()  # type: ignore[call-arg]
    flow.http("a")  # type: ignore[call-arg]
