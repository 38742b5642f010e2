"""Behind a connection pooler in transaction mode."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pooler import Pooler
from servers import Database

from pgflow import Client, Flow, Worker


def test_work_goes_on_in_whatever_session(client: Client, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow("pooled", timeout=1)

    @flow.map(over="run")
    async def each(item: int) -> int:
        return item + 1

    @flow.step
    def last(each: list[int]) -> int:
        time.sleep(1.2)  # a lease is extended, too
        return sum(each)

    client.define(flow)
    with Pooler(database.server.folder) as pooler:
        conninfo = database.conninfo.replace(str(database.server.folder), pooler.folder)
        with (
            Worker(conninfo, [flow], listen=False, poll_interval=0.1),
            Worker(conninfo, [flow], listen=False, poll_interval=0.1),
            Client(conninfo, prepare=False) as pooled,
        ):
            for count in range(30, 34):
                run = pooled.run(flow, list(range(count)))
                output: Any = run.wait(timeout=10)
                assert output == {"last": sum(range(1, count + 1))}
        assert pooler.transactions > 20
    assert caplog.text == ""
    assert database.value("SELECT max(attempt) FROM pgflow.step_tasks") == 1
