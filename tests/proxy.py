"""A TCP proxy in the test's own event loop, between syncd and a real server: it lets through, cuts, swallows.

async with Proxy(etcd.port) as proxy:
    ...  # talk to proxy.url
    proxy.cut()  # every connection is reset
    proxy.cut_after(1000)  # the same, in the middle of whatever the 1,000th byte from the server belongs to
    proxy.black_hole()  # connections stay open, and no byte comes through in either direction
    proxy.slow_down(1 << 10)  # 1 KiB a second
    proxy.refuse()  # cuts what is open, and everything new at once
    proxy.let_through()  # all is well again; what was held back flows on, as after a lost route has come back
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

CHUNK = 1 << 16
PIECES_A_SECOND = 8
"""Writes on a slow connection: so many that it flows, so few that the event loop has time for others."""


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
        self._rate: int | None = None
        self._full_speed = asyncio.Event()
        self._cut_in: int | None = None
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

    def cut_after(self, count: int) -> None:
        """Reset every open connection once `count` more bytes, at least one, were passed on to clients."""
        self._cut_in = count

    def black_hole(self) -> None:
        """Stop passing on, without closing anything: new connections are accepted, and left alone too."""
        self._passing.clear()

    def slow_down(self, rate: int) -> None:
        """Pass on no more than `rate` bytes a second, in each direction of each connection."""
        self._rate = rate
        self._full_speed.clear()

    def let_through(self) -> None:
        """Pass on again, beginning with what waits."""
        self._refusing = False
        self._rate = self._cut_in = None
        self._full_speed.set()
        self._passing.set()

    def refuse(self) -> None:
        """Reset open connections, and each new one as soon as it is there."""
        self._refusing = True
        self.cut()

    def allows(self, chunk: bytes, onward: asyncio.StreamWriter) -> bool:
        """Whether `chunk`, from a client, may go to the server through `onward`; else the connection ends."""
        return True

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
                while chunk:
                    await self._passing.wait()
                    size = self._passable(len(chunk), up=up)
                    piece, chunk = chunk[:size], chunk[size:]
                    if up and not self.allows(piece, target):
                        target.transport.abort()
                        return
                    target.write(piece)
                    await target.drain()
                    self._passed(size, up=up)
                    if self._rate:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self._full_speed.wait(), size / self._rate)
            await self._passing.wait()
            if target.can_write_eof():
                target.write_eof()
        except OSError:  # one side is gone, so the other goes too
            target.transport.abort()

    def _passable(self, size: int, *, up: bool) -> int:
        """How many of `size` bytes may go on now."""
        if self._rate:
            size = min(size, max(self._rate // PIECES_A_SECOND, 1))
        if self._cut_in and not up:
            size = min(size, self._cut_in)
        return size

    def _passed(self, size: int, *, up: bool) -> None:
        if up:
            self.bytes_up += size
            return
        self.bytes_down += size
        if self._cut_in is not None:
            self._cut_in -= size
            if self._cut_in <= 0:
                self._cut_in = None
                self.cut()
