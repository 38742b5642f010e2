"""What is written as JSON is what jsonb takes."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from pgflow.encoding import decode, encode, plain
from pgflow.task import describe


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, {1}, object(), b"x", "a\0b", {"k\0": 1}, ["\ud800"], {"\udfff": 1}]
)
def test_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(value)


def test_circles_and_depth_are_errors_and_no_crash() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises((ValueError, RecursionError)):
            encode(value)
    while deep:  # or its end would be a recursion, too
        deep = deep[0]


@pytest.mark.parametrize(
    "value", ["\\u0000", "\\ud800", "😀", "ä\\\\u0000", "퟿\ue000", None, 0, False, "", {"": []}, 1e300]
)
def test_taken(value: Any) -> None:
    assert decode(encode(value)) == value


def test_any_text_becomes_one_that_postgres_takes() -> None:
    assert plain("a\0\ud800b" + "x" * 100, 10) == "a\\0\\ud800bxxxxx…"
    plain("\0\ud800", 5).encode()


def test_an_error_says_what_where_and_why() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def inner() -> None:
        raise Mute

    try:
        try:
            inner()
        except Mute as error:
            raise ValueError("no\0thing") from error
    except ValueError as error:
        lines = describe(error).splitlines()
    assert lines[0] == "ValueError: no\\0thing"
    assert 'raise ValueError("no\\0thing") from error' in lines[1]
    assert lines[2] == "caused by Mute: (its message cannot be read)"
    assert "at inner (" in lines[-1]


def test_an_error_of_a_task_group_says_what_is_in_it() -> None:
    async def fails(error: Exception) -> None:
        raise error

    class Group(ExceptionGroup[Exception]):
        """One of somebody's own."""

    async def handler() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(ValueError("no such customer")))
            group.create_task(fails(ExceptionGroup("inner", [KeyError("k"), Group("own", [OSError("disk")])])))

    try:
        asyncio.run(handler())
    except ExceptionGroup as error:
        try:
            raise RuntimeError("the import failed") from error
        except RuntimeError as outer:
            text = describe(outer)
    heads = [line for line in text.splitlines() if not line.startswith("  at ")]
    assert heads == [
        "RuntimeError: the import failed",
        "caused by ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)",
        "one of them ValueError: no such customer",
        "one of them KeyError: 'k'",
        "one of them OSError: disk",
    ]
    assert text.count("  at fails (") == 1 and "raise error" in text


def test_a_description_has_an_end() -> None:
    many = describe(ExceptionGroup("many", [ValueError(str(number)) for number in range(100)])).splitlines()
    assert many == [
        "ExceptionGroup: many (100 sub-exceptions)",
        "100 errors in all, the first 5 of which are:",
        *(f"one of them ValueError: {number}" for number in range(5)),
    ]
    deep: Exception = ValueError("in the middle")
    for _ in range(5000):
        deep = ExceptionGroup("around", [deep])
    assert describe(deep).splitlines()[-1] == "one of them ValueError: in the middle"
    circle = ValueError("a circle")
    circle.__cause__ = ExceptionGroup("of", [circle])
    assert len(describe(circle).splitlines()) < 10
