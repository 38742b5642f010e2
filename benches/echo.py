"""An HTTP server that answers every request with the JSON 1, in one process, with as little as that takes.

    python3 benches/echo.py     prints its port, and serves until its standard input ends
"""
import asyncio
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.left = transport, b""

    def data_received(self, data):
        self.left += data
        while (head := self.left.find(b"\r\n\r\n")) >= 0:
            at = self.left.lower().find(b"content-length:", 0, head)
            length = int(self.left[at + 15:self.left.find(b"\r\n", at)])
            if len(self.left) < head + 4 + length:
                return
            self.left = self.left[head + 4 + length:]
            self.transport.write(ANSWER)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
