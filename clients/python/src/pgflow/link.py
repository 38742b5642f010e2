"""The worker's connections: one statement at a time, and a new connection when the old one is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from .connecting import complete

_WITH_TIMEOUT: LiteralString = "SELECT set_config('lock_timeout', %s, true); "


class Link:
    """A connection that is made when it is needed."""

    def __init__(self, conninfo: str, *, prepares: bool, lock_timeout: float | None = None) -> None:
        self._conninfo = complete(conninfo, "pgflow worker")
        # Behind a pooler in transaction mode the next transaction may be in another session, which knows nothing of
        # what was prepared in this one.
        self._prepares = prepares
        self._lock_timeout = None if lock_timeout is None else _milliseconds(lock_timeout)
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> psycopg.AsyncConnection[Any]:
        """The connection, in autocommit mode."""
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, prepare_threshold=5 if self._prepares else None
            )
            if self._lock_timeout is not None and self._prepares:
                await self._connection.execute("SELECT set_config('lock_timeout', %s, false)", (self._lock_timeout,))
        return self._connection

    async def rows(
        self, statement: LiteralString, parameters: Sequence[Any], *, lock_timeout: float | None = None
    ) -> list[tuple[Any, ...]]:
        """What the statement returns. After an error that is not about the statement itself the connection is new.

        `lock_timeout` is instead of the usual one.
        """
        connection = await self.open()
        timeout = self._lock_timeout if lock_timeout is None else _milliseconds(lock_timeout)
        try:
            if timeout is None or (self._prepares and lock_timeout is None):
                cursor = await connection.execute(statement, parameters)
                return await cursor.fetchall()
            # Sent as one query, the two are one transaction, and what is set for it is gone with it.
            both = psycopg.AsyncClientCursor(connection)
            await both.execute(_WITH_TIMEOUT + statement, (timeout, *parameters))
            both.nextset()
            return await both.fetchall()
        except BaseException as error:
            if not (isinstance(error, psycopg.Error) and (is_refusal(error) or is_locked(error))):
                await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the server refused what it was sent: the same again would be refused again.

    Everything else is about the server or the connection (a restart, a failover, a deadlock, a full disk) and passes.
    """
    state = error.sqlstate or ""
    # Data that cannot be taken (22), too large or too deep (54), pgflow's own (PT), rights.
    return state[:2] in ("22", "54", "PT") or state == "42501"


def is_locked(error: psycopg.Error) -> bool:
    """Whether somebody else held what the statement wanted for longer than the lock timeout."""
    return error.sqlstate == "55P03"


def is_odd(error: psycopg.Error) -> bool:
    """Whether it is none that is known to pass: a trigger of somebody else's, perhaps, that dislikes a result.

    Known are those about connections (08), transactions (25, 40), resources (53), locks (55) and operators (57).
    """
    state = error.sqlstate or ""
    return state != "" and state[:2] not in ("08", "25", "40", "53", "55", "57") and not is_refusal(error)


def is_setup(error: psycopg.Error) -> bool:
    """Whether the database has no pgflow that this role may use."""
    return error.sqlstate in ("42883", "3F000", "42501", "42P01")
