"""Requests to the local API: any query, and any bytes on the socket of a real server."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import orjson
from aiohttp.http_exceptions import HttpProcessingError
from structlog.testing import capture_logs

from syncd.client.query import Read
from syncd.client.query import value as value_request
from syncd.keyrange import KeyRange, prefix_range
from syncd.serve.errors import ApiError
from syncd.serve.params import KEY, KEYS, READ, Params
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

_PROBE = b"GET /v1/value?key=/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PROPER = re.compile(rb"[A-Z]+ /[!-~]* HTTP/1\.1\r\n(?:[A-Za-z-]+: [!-~]+\r\n)*\r\n")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d+)")


class _Accidents(logging.Handler):
    """What aiohttp and asyncio log, but for the requests that aiohttp itself refuses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        if not isinstance(cause, HttpProcessingError):
            self.seen.append(f"{record.name}: {record.getMessage()}: {cause!r}")


class _House:
    """A server in this thread, whose event loop turns only while a request is under way."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="syncd-")
        kept = Kept(prefix_range(b"/"))
        kept.fill({b"/a": b"1\n", b"/b": b"2\n", b"/\xff": b"\xff\n"}, 10)
        self.stand = Stand((kept,), Path(self._directory.name))
        self.accidents = _Accidents()
        for name in ("aiohttp", "asyncio"):
            logger = logging.getLogger(name)
            logger.addHandler(self.accidents)
            logger.propagate = False
        started = threading.Event()
        self._serving = self.stand.loop.create_task(self.stand.serve(started), name="server")
        self.stand.loop.run_until_complete(self._until(started.is_set))

    def told(self, pieces: Sequence[bytes]) -> bytes:
        """What comes back when `pieces` are sent, and read, one after the other; fails on any accident."""
        with capture_logs() as logged:
            received = self.stand.loop.run_until_complete(
                asyncio.wait_for(self._dialogue(pieces), REQUEST_SECONDS)
            )
        assert not logged, logged
        assert not self.accidents.seen, self.accidents.seen
        assert not self.stand.accidents, self.stand.accidents
        assert not self._serving.done()
        return received

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - whatever is waited for, only this thread does it
            await asyncio.sleep(0)

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
            for _ in range(TURNS):
                await asyncio.sleep(0)
            received = b""
            try:
                while more := visitor.recv(1 << 16):
                    received += more
            except (BlockingIOError, ConnectionResetError):
                pass
        await self._until(lambda: self.stand.context.readers == 0)
        return received

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        connection.connect(str(self.stand.socket))
        return connection


@cache
def _house() -> _House:
    return _House()


def server(data: bytes) -> None:
    """Any bytes on a connection: never a 500, an accident or a wait, and others are served as ever.

    A proper request gets the same answer however it is cut. aiohttp refuses some others sooner or later,
    and with them what stands before them in the same piece.
    """
    statuses = []
    for pieces in list(cuttings(data, len(data) or 1))[::3]:
        with linear_time(data):
            received = _house().told(pieces)
        found = _STATUS.match(received)
        status = int(found[1]) if found else None
        assert found or not received, received
        assert status not in (500, 501, 502), received
        statuses.append(status)
    distinct = set(statuses) if _PROPER.fullmatch(data) else {*statuses} - {None, 400}
    assert len(distinct) <= 1, statuses
