"""What is written as JSON is what jsonb takes."""

from __future__ import annotations

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
