"""Requests to the local API: any query, and any bytes on the socket of a real server."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from structlog.testing import capture_logs

from syncd.client.query import Read
from syncd.client.query import value as value_request
from syncd.keyrange import KeyRange, prefix_range
from syncd.serve.errors import ApiError
from syncd.serve.listener import bound
from syncd.serve.params import KEY, KEYS, READ, Params
from syncd.serve.server import Server
from tests.fuzzing.inputs import cuttings, linear_time
from tests.serve.stand import Kept, Stand

NAMES = (*READ, *KEYS, "from", "epoch", "events")


def everything(query: str) -> tuple[KeyRange, int, int | None, bool, str | None, str | None]:
    """All that can be asked of a query."""
    params = Params(query, NAMES)
    return (
        params.key_range(),
        params.integer("wait_ms", 5, 1, 10),
        params.optional_integer("from"),
        params.flag("linearizable"),
        params.choice("events", ("put", "delete")),
        params.text("epoch"),
    )


def query(data: bytes) -> None:
    """Any bytes as a query: understood, or a bad_request that can be told; and any bytes as a key."""
    text = data.decode("utf-8", "surrogateescape")  # as aiohttp's parser in Python does
    with linear_time(data):
        refused = _refused(text)
        assert not refused or refused.code == "bad_request"
        assert not refused or orjson.loads(refused.body())["error"]["message"]
        if data:
            asked = value_request(data, Read(max_age=1.5, min_revision=7, linearizable=True)).target
            assert Params(asked.partition("?")[2], (*READ, *KEY)).key() == data


def _refused(text: str) -> ApiError | None:
    try:
        everything(text)
    except ApiError as error:
        return error
    return None


TURNS = 20
"""Turns of the event loop in which a server has done what it can do without waiting."""

REQUEST_SECONDS = 10.0

SHORT = 200
"""Bytes of a request that is sent byte by byte, too."""

_PROBE = b"GET /v1/value?key=/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PROPER = re.compile(rb"[A-Z]+ /[!-~]* HTTP/1\.1\r\n(?:[A-Za-z-]+: [!-~]+\r\n)*\r\n")
_FIGURES = re.compile(rb"[0-9.]+")
"""In a body: some tell the time."""
_STATUS = re.compile(rb"HTTP/\d\.\d (\d+)")


class _Accidents(logging.Handler):
    """What aiohttp and asyncio log, but for what aiohttp itself refuses, and readers that have gone.

    It fails to refuse, with a 500, when the reason has half a character in it.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []
        self.aiohttp_failed = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Whatever is logged meanwhile comes here, and nowhere else."""
        loggers = [logging.getLogger(name) for name in ("aiohttp", "asyncio")]
        for logger in loggers:
            logger.addHandler(self)
            logger.propagate = False
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)
                logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        if isinstance(cause, UnicodeEncodeError):
            self.aiohttp_failed = True
        elif not isinstance(cause, HttpProcessingError | web.RequestPayloadError | ConnectionError):
            self.seen.append(f"{record.name}: {record.getMessage()}: {cause!r}")


class _House:
    """A server in this thread, as long as the process lives; its event loop turns only during a dialogue."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="syncd-")
        kept = Kept(prefix_range(b"/"))
        kept.fill({b"/a": b"1\n", b"/b": b"2\n", b"/\xff": b"\xff\n"}, 10)
        self.stand = Stand((kept,), Path(self._directory.name))
        self.accidents = _Accidents()
        self._bound = bound(self.stand.socket, 0o600, None)
        self._server = Server(self.stand.context, self._bound.__enter__())
        self.stand.loop.run_until_complete(self._server.__aenter__())

    def told(self, pieces: Sequence[bytes]) -> bytes:
        """What comes back when `pieces` are sent, and read, one after the other; fails on any accident."""
        self.accidents.aiohttp_failed = False
        self.accidents.seen.clear()
        self.stand.accidents.clear()
        with capture_logs() as logged, self.accidents.noted():
            received = self.stand.loop.run_until_complete(
                asyncio.wait_for(self._dialogue(pieces), REQUEST_SECONDS)
            )
        assert not logged, logged
        assert not self.accidents.seen, self.accidents.seen
        assert not self.stand.accidents, self.stand.accidents
        return received

    async def _dialogue(self, pieces: Sequence[bytes]) -> bytes:
        loop = self.stand.loop
        with self._connected() as visitor, self._connected() as other:
            for piece in pieces:
                try:
                    visitor.send(piece)
                except (BrokenPipeError, ConnectionResetError, BlockingIOError):
                    break  # it has heard enough
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            other.send(_PROBE)
            answered = b""
            while more := await loop.sock_recv(other, 1 << 16):
                answered += more
            assert answered.startswith(b"HTTP/1.1 200 "), answered
            assert answered.endswith(b"\r\n\r\n1\n"), answered
            await _turns()
            received = b""
            try:
                while more := visitor.recv(1 << 16):
                    received += more
            except (BlockingIOError, ConnectionResetError):
                pass
        await _turns()
        # Who is behind with its requests is not read from, and that it is gone is noticed with the next line
        # written to it. That may take an hour; not here.
        assert self._server._runner.server
        for left in self._server._runner.server.connections:
            left.force_close()
        await _turns()
        assert self.stand.context.readers == 0
        return received

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        connection.connect(str(self.stand.socket))
        return connection


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@cache
def _house() -> _House:
    return _House()


def server(data: bytes) -> None:
    """Any bytes on a connection: never a 500, an accident or a wait, and others are served as ever.

    A proper request gets the same answer however it is cut; a long one is not cut in so many ways. aiohttp
    refuses some others sooner or later, and with them what stands before them in the same piece.
    """
    statuses, bodies = [], set()
    ways = list(cuttings(data, len(data) or 1))
    for pieces in ways if len(data) <= SHORT else ways[::3]:
        with linear_time(data):
            received = _house().told(pieces)
        found = _STATUS.match(received)
        status = int(found[1]) if found else None
        assert found or not received, received
        assert status != 500 or _house().accidents.aiohttp_failed, received
        statuses.append(status)
        bodies.add(_FIGURES.sub(b"", received.partition(b"\r\n\r\n")[2]))
    distinct = set(statuses) if _PROPER.fullmatch(data) else {*statuses} - {None, 400, 500}
    assert len(distinct) <= 1, statuses
    assert len(bodies) == 1 or not _PROPER.fullmatch(data), bodies
