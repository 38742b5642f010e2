"""Opens many server-sent event streams of pgflow-live, lets runs go on, and says what it cost and how late it was.

    watch.py WATCHERS...

Two ways to watch: each a run of their own, as a user with a token of their own ("own runs": each change is looked up once
for its one watcher), and all the same run with the same token ("one run": a change is looked up once for all).
"""
import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import statistics
import subprocess
import sys
import time
from datetime import datetime

SECRET = "what tokens are signed with, for as long as this takes"
EVENTS = int(os.environ.get("EVENTS", "300"))
TICK = os.sysconf("SC_CLK_TCK")


def psql(text):
    done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1"], input=text, text=True, stdout=subprocess.PIPE, check=True)
    return done.stdout.split()


def token(sub):
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + encode(json.dumps({"role": "member", "sub": sub}).encode())
    return (text + b"." + encode(hmac.digest(SECRET.encode(), text, hashlib.sha256))).decode()


def start_runs(subs):
    """Runs, each as the user of its token would have started it."""
    lines = ["SET SESSION AUTHORIZATION authenticator;"]
    for sub in subs:
        claims = json.dumps({"sub": sub})
        lines.append(f"BEGIN; SET LOCAL ROLE member; SET LOCAL request.jwt.claims = '{claims}'; SELECT pgflow.run_flow('chain'); COMMIT;")
    return psql("\n".join(lines))


def cpu(pid):
    """Seconds of processor time."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_of_server():
    pids = psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgflow-live'")
    return sum(cpu(pid) for pid in pids)


def memory(pid):
    """Megabytes that are resident."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


class Watcher:
    def __init__(self, run, key):
        self.run, self.key, self.late, self.told = run, key, [], 0

    async def open(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(f"GET /runs/{self.run}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode())
        status = await self.reader.readline()
        assert b"200" in status, status
        while (await self.reader.readline()) != b"event: state\n":
            pass

    async def listen(self):
        try:
            while line := await self.reader.readline():
                if not line.startswith(b'data: {"event_type":'):
                    continue
                message = json.loads(line[6:])
                at = message.get("finished_at") or message["started_at"]
                self.late.append(time.time() - datetime.fromisoformat(at).timestamp())
                self.told += 1
        except (asyncio.CancelledError, ConnectionError):
            pass


WORK = """
SELECT count(*) FROM pgflow.settle_step_tasks((
  SELECT coalesce(jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index, 'lease', lease)), '[]')
  FROM pgflow.claim_step_tasks('chain', 1)));
"""


async def measure(count, together, port, pid):
    psql("SELECT pgflow.cancel_run(run_id) FROM pgflow.runs WHERE finished_at IS NULL")
    if together:
        # One run after the other is worked on, so all of them have to be watched: EVENTS changes for each watcher.
        runs = start_runs(["one"])
        watchers = [Watcher(runs[0], token("one")) for _ in range(count)]
    else:
        subs = [f"user {i}" for i in range(count)]
        watchers = [Watcher(run, token(sub)) for run, sub in zip(start_runs(subs), subs)]
    before = memory(pid)
    for at in range(0, count, 50):
        await asyncio.gather(*(watcher.open(port) for watcher in watchers[at:at + 50]))
    resident = memory(pid)
    listening = [asyncio.ensure_future(watcher.listen()) for watcher in watchers]
    await asyncio.sleep(2)
    idle = cpu(pid)
    await asyncio.sleep(5)
    idle = (cpu(pid) - idle) / 5
    own, server = cpu(pid), cpu_of_server()
    # A completion that starts a step is two changes; the last one of a run two as well.
    completions = 3 if together else max(3, EVENTS // 2)
    worker = await asyncio.create_subprocess_exec("psql", "-qX", "-o", os.devnull, stdin=asyncio.subprocess.PIPE)
    for _ in range(completions):
        worker.stdin.write(WORK.encode())
        await worker.stdin.drain()
        # So that it is the cost of one change and not of a crowd.
        await asyncio.sleep(0.02 if not together else 0.5)
    worker.stdin.close()
    await worker.wait()
    last = -1
    while (told := sum(watcher.told for watcher in watchers)) != last:
        last = told
        await asyncio.sleep(1)
    own, server = cpu(pid) - own, cpu_of_server() - server
    late = sorted(late for watcher in watchers for late in watcher.late)
    for task in listening:
        task.cancel()
    for watcher in watchers:
        watcher.writer.close()
    await asyncio.sleep(1)
    quantiles = statistics.quantiles(late, n=100) if len(late) > 1 else [0] * 99
    print(f"| {'one run' if together else 'own runs'} | {count} | {resident:.0f} MB | {(resident - before) * 1024 / count:.0f} kB | {idle * 100:.1f} % "
          f"| {told} | {own / told * 1e6:.0f} µs | {server / told * 1e6:.0f} µs | {quantiles[49] * 1e3:.1f} | {quantiles[98] * 1e3:.1f} |", flush=True)


async def main():
    database = f"host={os.environ['PGHOST']} user=authenticator dbname={os.environ['PGDATABASE']}"
    most = str(max(map(int, sys.argv[1:])) + 10)
    live = subprocess.Popen(
        [os.environ["PGFLOW_LIVE"], "--database", database, "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--max-watchers", most,
         "--max-watchers-per-user", most],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    try:
        port = int(live.stdout.readline().rsplit(":", 1)[1])
        await asyncio.sleep(1)
        print("| watched | watchers | resident | for each | idle | told | processor time for each: pgflow-live | PostgreSQL | late p50, ms | p99 |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for count in map(int, sys.argv[1:]):
            for together in (False, True):
                await measure(count, together, port, live.pid)
    finally:
        live.terminate()
        live.wait()


asyncio.run(main())
