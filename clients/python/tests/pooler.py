"""A connection pooler in transaction mode, as small as it can be: a stand-in for those that people run.

Each transaction goes to whatever server connection is free, another one each time where it can be; so what a session
keeps (prepared statements, LISTEN, advisory locks) is not found again.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


class Pooler:
    """Listens on a Unix socket in a folder of its own, in a thread."""

    def __init__(self, server: Path, size: int = 4) -> None:
        self._server = server / ".s.PGSQL.5432"
        self._size = size
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._available = asyncio.Semaphore(0)
        self._count = 0
        self._greeting = b""
        self.transactions = 0
        self.folder = tempfile.mkdtemp(prefix="pgflow-pooler.")
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        for path in Path(self.folder).iterdir():
            path.unlink()
        os.rmdir(self.folder)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._client(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        listener = await asyncio.start_unix_server(accept, f"{self.folder}/.s.PGSQL.5432")
        self._started.set()
        await self._end.wait()
        listener.close()
        for task in list(self._tasks):
            task.cancel()
        for _, writer in self._free:
            writer.close()

    async def _connect(self, startup: bytes) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._server))
        writer.write(startup)
        greeting = b""
        while True:
            kind, message = await _message(reader)
            greeting += message
            if kind == b"Z":
                break
            assert kind != b"E", message
        self._greeting = greeting
        self._free.append((reader, writer))
        self._available.release()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, code = struct.unpack("!II", await reader.readexactly(8))
                rest = await reader.readexactly(length - 8)
                if code in (_SSL, _GSS):
                    writer.write(b"N")
                    continue
                if code == _CANCEL:
                    return
                startup = struct.pack("!II", length, code) + rest
                break
            while self._count < self._size:
                self._count += 1
                await self._connect(startup)
            writer.write(self._greeting)
            while True:
                await self._transaction(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, EOFError):
            pass
        finally:
            writer.close()

    async def _transaction(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind, message = await _message(reader)
        if kind == b"X":
            raise EOFError
        await self._available.acquire()
        back = self._free.popleft()
        self.transactions += 1
        try:
            while True:
                back[1].write(message)
                if kind in (b"S", b"Q"):
                    while True:
                        kind, message = await _message(back[0])
                        writer.write(message)
                        if kind == b"Z":
                            break
                    if message[-1:] == b"I":
                        return
                kind, message = await _message(reader)
        finally:
            self._free.append(back)
            self._available.release()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
