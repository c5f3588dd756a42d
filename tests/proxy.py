"""A TCP proxy in the test's own event loop, between syncd and a real server: it lets through, cuts, swallows.

async with Proxy(etcd.port) as proxy:
    ...  # talk to proxy.url
    proxy.cut()  # every connection is reset
    proxy.black_hole()  # connections stay open, and no byte comes through in either direction
    proxy.let_through()  # what was held back flows on, as after a lost route has come back
    proxy.refuse()  # cuts what is open, and everything new at once
"""

from __future__ import annotations

import asyncio
from typing import Self

CHUNK = 1 << 16


class Proxy:
    """Listens on a port of its own, and passes everything on to `port` at `host`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self.port = 0
        self.connections = 0
        """Connections accepted so far."""
        self.bytes_up = 0
        """Bytes passed on to the server."""
        self.bytes_down = 0
        """Bytes passed on to the clients."""

    @property
    def url(self) -> str:
        """What stands in syncd's configuration instead of the server's own URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._open) // 2

    def cut(self) -> None:
        """Reset every open connection; new ones are welcome."""
        for writer in tuple(self._open):
            writer.transport.abort()

    def black_hole(self) -> None:
        """Stop passing on, without closing anything: new connections are accepted, and left alone too."""
        self._passing.clear()

    def let_through(self) -> None:
        """Pass on again, beginning with what waits."""
        self._refusing = False
        self._passing.set()

    def refuse(self) -> None:
        """Reset open connections, and each new one as soon as it is there."""
        self._refusing = True
        self.cut()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            self.let_through()
            self.refuse()
            await asyncio.gather(*self._serving)  # not cancelled: asyncio would log that
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.connections += 1
        if self._refusing:
            writer.transport.abort()
            return
        try:
            upstream, onward = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._refusing:
            writer.transport.abort()
            onward.transport.abort()
            return
        ends = {writer, onward}
        self._open |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, onward, up=True), name="proxy, up")
                group.create_task(self._pass(upstream, writer, up=False), name="proxy, down")
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, up: bool) -> None:
        try:
            while chunk := await source.read(CHUNK):
                await self._passing.wait()
                target.write(chunk)
                await target.drain()
                if up:
                    self.bytes_up += len(chunk)
                else:
                    self.bytes_down += len(chunk)
            await self._passing.wait()
            if target.can_write_eof():
                target.write_eof()
        except OSError:  # one side is gone, so the other goes too
            target.transport.abort()
