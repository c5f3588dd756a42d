"""A TCP proxy in the test's own event loop, between syncd and a real server: it lets through, cuts, swallows.

async with Proxy(etcd.port) as proxy:
    ...  # talk to proxy.url
    proxy.cut()  # every connection is reset: the peers see ECONNRESET
    proxy.cut_after(1000)  # the same, in the middle of whatever the 1,000th byte from the server belongs to
    proxy.black_hole()  # connections stay open, new ones are accepted, and no byte comes through
    proxy.slow_down(1 << 10)  # 1 KiB a second
    proxy.refuse()  # cuts what is open, and everything new at once
    proxy.let_through()  # all is well again; what was held back flows on, as after a lost route has come back
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Self

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close say RST instead of FIN: what is not sent yet is dropped."""

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
        return len(self._serving)

    def cut(self) -> None:
        """Reset every open connection; new ones are welcome."""
        for writer in tuple(self._open):
            reset(writer)

    def cut_after(self, count: int) -> None:
        """Reset every open connection once `count` more bytes, at least one, were passed on to clients."""
        self._cut_in = count

    @property
    def is_to_cut(self) -> bool:
        """Whether the cut that `cut_after` announced is yet to come."""
        return self._cut_in is not None

    def black_hole(self) -> None:
        """Stop passing on, without closing anything: new connections are accepted, and left alone too.

        Whether there is a server behind it cannot be told from outside, not even when it is down.
        """
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

    def saw(self, piece: bytes, *, up: bool) -> None:
        """`piece` was passed on, to the server or to a client; for whoever wants to know what is said."""

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
        self._open.add(writer)
        try:
            if onward := await self._dial(writer):
                await self._exchange(reader, writer, *onward)
            else:
                reset(writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _dial(
        self, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Connect a client that just came to the server, as soon as that is allowed; None when it is not."""
        if self._refusing:
            return None
        await self._passing.wait()
        if self._refusing or writer.transport.is_closing():
            return None
        try:
            upstream, onward = await asyncio.open_connection(*self._target)
        except OSError:  # nobody listens there
            await self._passing.wait()
            return None
        if self._refusing or writer.transport.is_closing():
            reset(onward)
            return None
        return upstream, onward

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
    ) -> None:
        self._open.add(onward)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, onward, up=True), name="proxy, up")
                group.create_task(self._pass(upstream, writer, up=False), name="proxy, down")
        finally:
            self._open.discard(onward)
            onward.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, up: bool) -> None:
        try:
            while chunk := await source.read(CHUNK):
                while chunk:
                    await self._passing.wait()
                    size = self._passable(len(chunk), up=up)
                    piece, chunk = chunk[:size], chunk[size:]
                    if up and not self.allows(piece, target):
                        reset(target)
                        return
                    target.write(piece)
                    await target.drain()
                    self._passed(size, up=up)
                    self.saw(piece, up=up)
                    if self._rate:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self._full_speed.wait(), size / self._rate)
            await self._passing.wait()
            if target.can_write_eof():
                target.write_eof()
        except OSError:  # one side is gone, so the other goes too
            reset(target)

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


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, as a host does that knows nothing of it."""
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
