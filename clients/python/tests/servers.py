"""The servers that tests run against, and databases in them.

`PGFLOW_SERVER` and `PGFLOW_FRAGILE_SERVER` are folders of clusters that scripts/cluster started: one that stays up, and
one that tests end and start again.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg

T = TypeVar("T")


class Database:
    """A database of its own with pgflow in it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.conninfo = server.conninfo(name)

    def rows(self, statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description is not None else []

    def value(self, statement: LiteralString, *parameters: Any) -> Any:
        return self.rows(statement, *parameters)[0][0]


class Server:
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._count = 0

    def conninfo(self, database: str) -> str:
        return f"host={self.folder} port=5432 user=postgres dbname={database}"

    def database(self) -> Database:
        """A new database, made of one that has the extension already."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            if self._count == 0:
                connection.execute("DROP DATABASE IF EXISTS template_pgflow")
                connection.execute("CREATE DATABASE template_pgflow")
                with psycopg.connect(self.conninfo("template_pgflow"), autocommit=True) as template:
                    template.execute("CREATE EXTENSION pgflow")
            self._count += 1
            name = f"test_{os.getpid()}_{self._count}"
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template_pgflow")
        return Database(self, name)

    def drop(self, database: Database) -> None:
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")

    def restart_at_once(self) -> None:
        """Ends the server as a crash does, and starts it again."""
        self.control("restart", "-m", "immediate")

    def control(self, *arguments: str) -> None:
        """Calls pg_ctl and waits for it."""
        data = self.folder / "data"
        command = [str(self.folder / "bin/pg_ctl"), *arguments, "-s", "-w", "-D", str(data)]
        if arguments[0] != "stop":
            command += ["-l", str(self.folder / "log")]
        if os.getuid() == 0:
            command = ["runuser", "-u", pwd.getpwuid(data.stat().st_uid).pw_name, "--", *command]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/")


def eventually(look: Callable[[], T], what: str, within: float = 10.0) -> T:
    """Looks until what it sees is true, and returns it."""
    end = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end, f"{what}: not within {within} s; last seen {seen!r}"
        time.sleep(0.02)
