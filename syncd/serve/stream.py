"""An answer that goes on: NDJSON or server-sent events, to a reader that may be slow or dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from aiohttp import web

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
PACKED = "application/vnd.syncd.blocks"
"""Lines as in NDJSON, but records come as packed blocks (`encode.packed`), for those who accept that."""

STALLED = 60.0
"""Seconds in which a reader must take one write, which is CHUNK at most, or it is closed."""

CHUNK = 128 << 10
"""Bytes to gather before writing, and to write at a time: fewer system calls, and still little held for one
who does not read."""


class Stalled(ConnectionError):
    """The reader has stopped reading."""


class Lines:
    """Writes lines to one reader, gathered in chunks, each line optionally as a server-sent event."""

    def __init__(
        self, response: web.StreamResponse, request: web.Request, *, events: bool, chunk: int
    ) -> None:
        self._response = response
        self._request = request
        self._chunk = chunk
        self._events = events
        self._gathered: list[bytes] = []
        self._size = 0
        self._within = False
        """Whether `lines` was last given the beginning of a line."""

    @staticmethod
    def of(request: web.Request) -> Lines | None:
        """The stream with which the answer to `request` has begun."""
        return request.get(_LINES)

    @classmethod
    async def begin(
        cls, request: web.Request, headers: dict[str, str], *, kind: str = NDJSON, chunk: int = CHUNK
    ) -> Lines:
        """Send the headers; `kind` is the Content-Type, `chunk` how much is written at a time."""
        response = web.StreamResponse(headers={**headers, "Content-Type": kind, "Cache-Control": "no-cache"})
        await response.prepare(request)
        lines: Lines = cls(response, request, events=kind == EVENTS, chunk=chunk)
        request[_LINES] = lines
        return lines

    async def add(self, piece: bytes) -> None:
        """A piece of the output as it is: whole lines, or a part of one."""
        if len(piece) > self._chunk:
            await self.flush()  # so that nothing is copied to be joined with it
        self._gathered.append(piece)
        self._size += len(piece)
        if self._size >= self._chunk:
            await self.flush()

    async def lines(self, lines: bytes) -> None:
        """Lines which nobody resumes from; the last one may go on in the next call."""
        if not self._events:
            await self.add(lines)
            return
        for line in lines.splitlines(keepends=True):
            begin = b"" if self._within else b"data: "
            self._within = not line.endswith(b"\n")
            await self.add(b"%b%b%b" % (begin, line, b"" if self._within else b"\n"))

    async def line(self, line: bytes, event_id: str | None = None) -> None:
        """One whole line (with its newline); `event_id`: what a server-sent event can be resumed from."""
        await self.begin_line(event_id)
        await self.add(line)
        await self.end_line()

    async def begin_line(self, event_id: str | None = None) -> None:
        """What stands before a line."""
        if self._events:
            await self.add(b"data: " if event_id is None else b"id: %b\ndata: " % event_id.encode())

    async def end_line(self) -> None:
        """What stands after a line and its newline."""
        if self._events:
            await self.add(b"\n")

    async def flush(self) -> None:
        """Write what was gathered; waits while the reader's buffer is full."""
        if not self._gathered:
            return
        data = self._gathered[0] if len(self._gathered) == 1 else b"".join(self._gathered)
        self._gathered.clear()
        self._size = 0
        for piece in cut(data, self._chunk):
            try:
                async with asyncio.timeout(STALLED):
                    await self._response.write(piece)
            except TimeoutError as error:
                self.abort()
                raise Stalled from error

    def abort(self) -> None:
        """Cut the connection: closing it properly would wait for the reader."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def end(self) -> web.StreamResponse:
        """Everything was said: end the answer properly."""
        await self.flush()
        await self._response.write_eof()
        return self._response


def cut(data: bytes, size: int = CHUNK) -> Iterator[memoryview]:
    """`data` as it is to be written: what is written stays in memory until it is taken."""
    view = memoryview(data)
    for begin in range(0, len(data), size):
        yield view[begin : begin + size]


async def whole(request: web.Request, headers: dict[str, str], kind: str, body: bytes) -> web.StreamResponse:
    """An answer that is all there, of the Content-Type `kind`; a large one is written as it is taken."""
    if len(body) <= CHUNK or request.method == "HEAD":
        return web.Response(body=body, content_type=kind, headers=headers)
    return await in_pieces(request, headers, kind, len(body), cut(body))


async def in_pieces(
    request: web.Request, headers: dict[str, str], kind: str, size: int, pieces: Iterable[bytes | memoryview]
) -> web.StreamResponse:
    """A large answer whose `pieces` make `size` bytes."""
    response = web.StreamResponse(headers={**headers, "Content-Type": kind})
    response.content_length = size
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


_LINES = web.RequestKey("lines", Lines)
