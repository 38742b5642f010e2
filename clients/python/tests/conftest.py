from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from servers import Database, Server

from pgflow import Client


@pytest.fixture(scope="session")
def server() -> Server:
    return Server(os.environ["PGFLOW_SERVER"])


@pytest.fixture(scope="session")
def fragile_server() -> Server:
    return Server(os.environ["PGFLOW_FRAGILE_SERVER"])


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = server.database()
    yield database
    server.drop(database)


@pytest.fixture
def fragile_database(fragile_server: Server) -> Iterator[Database]:
    database = fragile_server.database()
    yield database
    fragile_server.drop(database)


@pytest.fixture
def client(database: Database) -> Iterator[Client]:
    with Client(database.conninfo) as client:
        yield client
    problems = database.rows("SELECT run_id, problem FROM pgflow.check_integrity()")
    assert problems == []
