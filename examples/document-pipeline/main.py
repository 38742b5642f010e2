#!/usr/bin/env python3
"""The program around the flow.

    main.py start FOLDER      defines the flow, starts a run over the Markdown files in a folder, prints its id
    main.py worker NAME       does the steps, until it is told to stop
    main.py watch RUN_ID      shows how far the run is, until it has ended
    main.py show RUN_ID       shows what came of it
    main.py picture RUN_ID    prints it as an SVG image
    main.py search WORD…      searches the index that the last run made

DATABASE_URL says where the database is.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path

import psycopg
from pipeline import flow

from pgflow import Client, RunFailed, Worker

DATABASE = os.environ.get("DATABASE_URL", "")
SLICES = 56


def start(folder: str) -> None:
    with psycopg.connect(DATABASE) as connection:
        connection.execute(
            """
            CREATE TABLE IF NOT EXISTS search_index (
              run_id uuid, word text, section int, document text, heading text, weight float8,
              PRIMARY KEY (run_id, word, section))
            """
        )
    with Client(DATABASE) as client:
        client.define(flow)
        print(client.run(flow, {"folder": str(Path(folder).resolve())}).run_id)


def worker(name: str) -> None:
    Worker(DATABASE, [flow], concurrency=4, worker_id=name).run()


def watch(run_id: str) -> None:
    with Client(DATABASE) as client:
        run, shown = client.handle(run_id), dict[str, str]()
        while True:
            state = run.state()
            for slug, step in state.steps.items():
                line = f"  {slug:12} {step.status:10} {step.completed_tasks:4}/{step.initial_tasks or 0:<4}"
                line += f" ({step.failed_attempts} failed)" if step.failed_attempts else ""
                if step.status != "pending" and shown.get(slug) != line:
                    print(line, flush=True)
                    shown[slug] = line
            if state.finished_at is not None:
                return
            time.sleep(0.1)


def show(run_id: str) -> None:
    with Client(DATABASE) as client:
        try:
            output = client.handle(run_id).wait(timeout=1)
        except RunFailed as failure:
            sys.exit(f"{failure}")
    with psycopg.connect(DATABASE) as connection:
        rows = connection.execute(
            "SELECT step_slug, task_index, attempt, status, started_at, finished_at, worker_id, error_message "
            "FROM pgflow.run_timeline WHERE run_id = %s ORDER BY started_at",
            (run_id,),
        ).fetchall()
    print("\nThe run. █ is work, × a failed attempt.\n")
    begun = min(row[4] for row in rows)
    span = max(row[5] for row in rows) - begun

    def place(moment: datetime) -> int:
        return min(int((moment - begun) / span * SLICES), SLICES - 1)

    for slug in flow.steps:
        mine = [row for row in rows if row[0] == slug]
        marks = [" "] * SLICES
        for row in sorted(mine, key=lambda row: row[3] == "failed"):
            for n in range(place(row[4]), place(row[5]) + 1):
                marks[n] = "×" if row[3] == "failed" else "█"
        took = (max(row[5] for row in mine) - min(row[4] for row in mine)).total_seconds() * 1000
        count = len({row[1] for row in mine})
        print(f"  {slug:12}{f'× {count}' if count > 1 else '':6}{took:7,.0f} ms  {''.join(marks).rstrip()}")
    failures = [row for row in rows if row[3] == "failed"]
    if failures:
        print("\nWhat failed, and was tried again by itself:\n")
    for slug, task_index, attempt, _, _, _, _, message in failures:
        again = next(row for row in rows if row[:3] == (slug, task_index, attempt + 1))
        print(f"  {slug}[{task_index}] attempt {attempt}: {message.splitlines()[0]}")
        print(f"  attempt {attempt + 1}: {again[3]}, by {again[6]}")
    print("\nWho did it:\n")
    for name in sorted({row[6] for row in rows}):
        print(f"  {name}: {sum(row[6] == name and row[3] == 'completed' for row in rows)} tasks")
    print(f"\nThe report:\n\n{output}")


def picture(run_id: str) -> None:
    with Client(DATABASE) as client:
        print(client.handle(run_id).svg())


def search(*words: str) -> None:
    with psycopg.connect(DATABASE) as connection:
        rows = connection.execute(
            """
            SELECT document, heading, count(*), sum(weight) FROM search_index
            WHERE word = ANY (%s) AND run_id = (
              SELECT run_id FROM pgflow.runs
              WHERE flow_slug = %s AND status = 'completed' ORDER BY finished_at DESC LIMIT 1)
            GROUP BY document, section, heading ORDER BY count(*) DESC, sum(weight) DESC LIMIT 10
            """,
            ([word.lower() for word in words], flow.slug),
        ).fetchall()
    for document, heading, _, _ in rows:
        print(f"{document}: {heading}")
    if not rows:
        print("nothing found")


COMMANDS = {"start": start, "worker": worker, "watch": watch, "show": show, "picture": picture, "search": search}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
