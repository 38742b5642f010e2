"""A worker as a process of its own, for tests that end it.

    programs.py CONNINFO FLOW [NAME=VALUE…]

Works a flow until it is told to stop. Handlers of `slow` and `forever` note in table `calls` what they are doing.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from pgflow import Context, Flow, Worker

flow = Flow("load", max_attempts=20, base_delay=0, timeout=3)


@flow.map(over="run")
async def quick(item: int, index: int) -> int:
    await asyncio.sleep(0.001)
    return item * 2


@flow.map(over="quick")
def threaded(item: int) -> int:
    time.sleep(0.001)
    return item + 1


@flow.step
def total(threaded: list[int]) -> int:
    return sum(threaded)


# Handlers that say that they began, and take their time.
slow = Flow("slow", max_attempts=3, base_delay=0, timeout=3)
conninfo = ""


def note(ctx: Context, what: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO calls VALUES (%s, %s, %s, %s)", (ctx.step_slug, ctx.task_index, ctx.attempt, what)
        )


@slow.map(over="run")
def pause(seconds: float, ctx: Context) -> str:
    note(ctx, "began")
    if seconds < 0:
        ctx.cancelled.wait(-seconds)
        ctx.raise_if_cancelled()
    else:
        time.sleep(seconds)
    note(ctx, "ended")
    return "done"


@slow.step
async def after(pause: list[str]) -> int:
    return len(pause)


forever = Flow("forever", max_attempts=3, base_delay=0, timeout=3)


@forever.step
def stuck(run: Any, ctx: Context) -> None:
    note(ctx, "began")
    threading.Event().wait()


@forever.step
async def heedless(run: Any, ctx: Context) -> None:
    await asyncio.to_thread(note, ctx, "began")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(100)


FLOWS = {each.slug: each for each in (flow, slow, forever)}


def start(conninfo: str, flow: Flow, **options: Any) -> subprocess.Popen[str]:
    """Starts a process that works this flow."""
    return subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__)),
            conninfo,
            flow.slug,
            *(f"{name}={value!r}" for name, value in options.items()),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    global conninfo
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    conninfo = sys.argv[1]
    options = {name: ast.literal_eval(value) for name, _, value in (option.partition("=") for option in sys.argv[3:])}
    Worker(conninfo, [FLOWS[sys.argv[2]]], **options).run()
    print("returned", file=sys.stderr)


if __name__ == "__main__":
    main()
