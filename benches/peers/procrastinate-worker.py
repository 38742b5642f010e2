#!/usr/bin/env python3
"""procrastinate, a plain queue: independent jobs, worked off by one asynchronous worker with 20 at a time."""

import asyncio
import json
import logging
import pathlib
import sys
import time

import procrastinate
import psycopg

LIMIT = 20
PATIENCE = 600  # seconds that a measurement may take at most

logging.disable(logging.WARNING)
connector = procrastinate.PsycopgConnector(min_size=LIMIT + 2, max_size=LIMIT + 2)
app = procrastinate.App(connector=connector)


@app.task(name="job")
async def job(n: int) -> None:
    pass


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on, which is field 3."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()


def server_seconds(admin) -> float | None:
    """Processor time of the server's ended processes, where the server is on this machine and this is Linux."""
    try:
        return sum(map(int, stat(int(stat(admin.info.backend_pid)[1]))[13:15])) / 100
    except OSError:
        return None


async def counters(admin) -> tuple[int, int, float | None]:
    """Commits, bytes of WAL, processor time. Sessions report what they did at their end at the latest."""
    others = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
    while (await (await admin.execute(others)).fetchone())[0]:
        await asyncio.sleep(0.002)
    await admin.execute("SELECT pg_stat_force_next_flush()")
    row = await admin.execute(
        """SELECT xact_commit, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
           FROM pg_stat_database WHERE datname = current_database()"""
    )
    return (*await row.fetchone(), server_seconds(admin))


async def jobs(total: int) -> None:
    admin = await psycopg.AsyncConnection.connect(autocommit=True)
    async with app.open_async():
        for start in range(0, total, 1000):
            await job.batch_defer_async(*({"n": n} for n in range(start, min(start + 1000, total))))
    await admin.execute("VACUUM (ANALYZE)")
    await admin.execute("CHECKPOINT")
    before = await counters(admin)
    async with app.open_async():
        await connector.pool.wait()
        processor, start = time.process_time(), time.perf_counter()
        # wait=False: the worker returns when there is nothing left to do.
        await app.run_worker_async(
            concurrency=LIMIT, wait=False, listen_notify=False, install_signal_handlers=False
        )
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
    after = await counters(admin)
    query = "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FROM procrastinate_jobs"
    found = await (await admin.execute(query)).fetchone()
    if found != (total, total):
        sys.exit(f"procrastinate: {found[0]} of {found[1]} jobs have succeeded, and not {total}")
    await admin.close()
    result = {"peer": "procrastinate", "workload": "jobs-1", "units": "jobs", "done": total, "seconds": seconds}
    result |= {"commits": after[0] - before[0], "wal_bytes": after[1] - before[1], "client_seconds": processor}
    result["server_seconds"] = None if before[2] is None else after[2] - before[2]
    print(json.dumps(result))


async def setup() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


match sys.argv[1:]:
    case ["setup"]:
        asyncio.run(setup())
    case ["jobs-1", amount] if amount.isdigit() and int(amount) > 0:
        asyncio.run(asyncio.wait_for(jobs(int(amount)), PATIENCE))
    case _:
        sys.exit("usage: procrastinate setup\n       procrastinate jobs-1 AMOUNT")
