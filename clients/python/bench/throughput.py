#!/usr/bin/env python3
"""Measures one worker process with handlers that do nothing, and the bare SQL loop.

The server is the one that PGHOST and so on name. Each line is measured once in each round, in a database of its own, so
that a slow minute meets all lines alike. The work is a chain of three steps. The rate is tasks by the time from the
first claim to the last completion, as the server has them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import psycopg

from pgflow import Client, Flow, Worker

flow, threaded = Flow("chain"), Flow("chain")
for each in (flow, threaded):
    for slug, deps in (("one", ()), ("two", ("one",)), ("three", ("two",))):

        async def coroutine() -> int:
            return 1

        def function() -> int:
            return 1

        each.step(slug=slug, depends_on=deps)(coroutine if each is flow else function)

CLAIM = """
SELECT run_id, step_slug, task_index, input, lease FROM pgflow.settle_and_claim(%s::jsonb, 'chain', %s)
"""


def bare(batch: int) -> None:
    """The loop of docs/workers.md: settle the last batch and claim the next one."""
    with psycopg.connect(autocommit=True) as connection:
        results: list[dict[str, Any]] = []
        while True:
            tasks = connection.execute(CLAIM, (json.dumps(results), batch)).fetchall()
            if not tasks:
                return
            results = [
                {"run_id": str(run_id), "step_slug": step_slug, "task_index": task_index, "lease": lease, "output": 1}
                for run_id, step_slug, task_index, _, lease in tasks
            ]


LINES: dict[str, list[str]] = {
    "bare loop, batch 1": ["bare", "1"],
    "bare loop, batch 10": ["bare", "10"],
    "bare loop, batch 100": ["bare", "100"],
    "worker, concurrency 1, coroutines": ["coroutines", "1"],
    "worker, concurrency 10, coroutines": ["coroutines", "10"],
    "worker, concurrency 100, coroutines": ["coroutines", "100"],
    "worker, concurrency 1, threads": ["threads", "1"],
    "worker, concurrency 10, threads": ["threads", "10"],
    "worker, concurrency 100, threads": ["threads", "100"],
}


def measure(arguments: list[str], runs: int) -> float:
    """Tasks per second."""
    database = f"pgflow_python_{os.getpid()}"
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {database}")
    try:
        with psycopg.connect(dbname=database, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pgflow")
            client = Client(connection)
            client.define(flow)
            client.run_many(flow, [{}] * runs)
            connection.execute("VACUUM (ANALYZE) pgflow.live_tasks")
            connection.execute("CHECKPOINT")
            process = subprocess.Popen(
                [sys.executable, __file__, "--work", *arguments], env={**os.environ, "PGDATABASE": database}
            )
            while connection.execute("SELECT count(*) FROM pgflow.runs WHERE status <> 'completed'").fetchone() != (0,):
                if process.poll() not in (None, 0):
                    sys.exit(f"{arguments}: the worker has ended")
                time.sleep(0.2)
            process.terminate()
            process.wait()
            row = connection.execute(
                "SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at))::float8, count(*), "
                "count(*) FILTER (WHERE status = 'completed' AND attempt = 1) FROM pgflow.step_tasks"
            ).fetchone()
            assert row is not None and row[1] == row[2] == 3 * runs, row
            assert connection.execute("SELECT * FROM pgflow.check_integrity()").fetchall() == []
            return float(row[0])
    finally:
        with psycopg.connect(autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, number = options.work[0], int(options.work[1])
        if kind == "bare":
            bare(number)
        else:
            Worker("", [flow if kind == "coroutines" else threaded], concurrency=number).run()
        return
    rates: dict[str, list[float]] = {line: [] for line in LINES}
    for number in range(options.rounds):
        for line, arguments in LINES.items():
            # One by one is slow: a part of the work tells as much.
            runs = options.runs // 4 if arguments == ["bare", "1"] else options.runs
            rates[line].append(measure(arguments, max(runs, 1)))
            print(f"round {number + 1}, {line}: {rates[line][-1]:,.0f} tasks/s", file=sys.stderr)
    print("| | tasks/s | of the bare loop at batch 100 |")
    print("| --- | --- | --- |")
    for line, seen in rates.items():
        shares = [rate / best for rate, best in zip(seen, rates["bare loop, batch 100"], strict=True)]
        print(f"| {line} | {statistics.median(seen):,.0f} | {statistics.median(shares):.2f} |")


if __name__ == "__main__":
    main()
