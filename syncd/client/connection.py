"""One connection to the daemon: a socket that never blocks, and one request at a time on it.

Reading and writing stand here once. What is different between threads and asyncio is only how one waits, and
that is `Waiting`: the fronts bring it along.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Protocol

from syncd.client.errors import ClientError, ConnectError, CutError, SilenceError
from syncd.client.http11 import Head, ResponseReader, encode_request
from syncd.client.query import Request

RECEIVE = 256 * 1024
"""Bytes asked of the socket at once."""

CROWDED = 0.01
"""Seconds between attempts to connect while the daemon's queue of connections is full."""

_LOCAL = {"Accept-Encoding": "identity"}


class Waiting(Protocol):
    """How a front waits; TimeoutError when what is waited for does not come within `seconds`."""

    async def readable(self, sock: socket.socket, seconds: float) -> None:
        """Wait until there is something to read, or an end."""

    async def writable(self, sock: socket.socket, seconds: float) -> None:
        """Wait until there is room to write."""

    async def sleep(self, seconds: float) -> None:
        """Wait for nothing but the time."""


class Connection:
    """Sends requests and reads answers; so many seconds without a byte are a SilenceError.

    A connection on which anything went wrong, or a wait was cancelled while it was between two answers, is
    of no use any more and not `reusable`. A wait takes nothing from the socket, so whatever ends one (a task
    that is cancelled, a signal's handler that raises) costs nothing; anywhere else it costs the connection,
    for nobody can tell what was taken. It belongs to the process that made it: a forked child that uses
    it gets a CutError, for the parent may be reading from it.
    """

    def __init__(self, sock: socket.socket, path: str, waiting: Waiting) -> None:
        self._socket = sock
        self._path = path
        self._waiting = waiting
        self._pid = os.getpid()
        self._silence = 0.0
        self._answer: ResponseReader | None = None
        self._early = b""  # body bytes that came together with the head

    @classmethod
    async def open(cls, path: str, seconds: float, waiting: Waiting) -> Connection:
        """Connect to the socket at `path`; ConnectError when that cannot be done within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return cls(_connected(path), path, waiting)
            except OSError as error:
                # When the daemon's queue is full, a Unix socket says so at once, and not when there is room.
                if error.errno != errno.EAGAIN or time.monotonic() >= deadline:
                    # A path that is too long for an address has no errno.
                    raise ConnectError(path, error.errno, error.strerror or str(error)) from error
            await waiting.sleep(CROWDED)

    async def request(self, request: Request, silence: float) -> Head:
        """Send a request and read the head of its answer; the body is read with `receive()`.

        `silence`: seconds without a byte that are a SilenceError.
        """
        self._answer = answer = ResponseReader()
        self._early = b""
        self._silence = silence + request.patience
        await self._send(encode_request(request.target, {**_LOCAL, **request.headers}, request.method))
        while answer.head is None:
            await self.arrival()
            self._early += self._read(answer)
        self._silence = silence
        return answer.head

    async def arrival(self) -> None:
        """Wait until there is something for `arrived`, or there may be."""
        # First wait, then read: an asyncio reader gives way to others however fast the daemon sends.
        self._check_usable()
        if self._early or self._answer is None or self._answer.done:
            return
        try:
            await self._waiting.readable(self._socket, self._silence)
        except OSError as error:
            raise self._failed(error) from error

    def arrived(self) -> bytes | None:
        """Return the next bytes of the body without waiting: b"" at its end, None when none have come.

        CutError when the connection ended before.
        """
        answer = self._answer
        data, self._early = self._early, b""
        if data or answer is None or answer.done:
            return data
        return self._read(answer) or (b"" if answer.done else None)

    async def rest(self) -> bytes:
        """Read the body to its end."""
        pieces: list[bytes] = []
        while True:
            await self.arrival()
            data = self.arrived()
            if data == b"":
                return b"".join(pieces)
            pieces.append(data or b"")

    def expect_every(self, seconds: float) -> None:
        """From now on, take silence for longer than this for the end."""
        self._silence = seconds

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent: the last answer was read to its end."""
        answer = self._answer
        finished = answer is None or (answer.done and answer.head is not None and answer.head.reusable)
        return finished and self._socket.fileno() >= 0

    def close(self) -> None:
        """Close the socket; any number of times."""
        self._socket.close()

    async def _send(self, data: bytes) -> None:
        self._check_usable()
        try:
            while data:
                try:
                    data = data[self._socket.send(data) :]
                except BlockingIOError:
                    await self._waiting.writable(self._socket, self._silence)
        except (BrokenPipeError, ConnectionResetError):
            # The daemon did not want to read all of it: its answer says why; without one, that is a cut.
            return
        except OSError as error:
            raise self._failed(error) from error

    def _read(self, answer: ResponseReader) -> bytes:
        """Take what the socket has, and return the body bytes in it."""
        try:
            return answer.feed(self._socket.recv(RECEIVE))
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._failed(error) from error
        except BaseException:
            self.close()
            raise

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            self.close()
            raise CutError("this process was forked, and the connection is its parent's")
        if self._socket.fileno() < 0:
            raise CutError("the connection was closed because something else was raised while it was read")

    def _failed(self, error: OSError) -> ClientError:
        self.close()
        if isinstance(error, TimeoutError):
            return SilenceError(f"{self._path} said nothing for {self._silence:g} s")
        return CutError(f"the connection to {self._path} was lost: {os.strerror(error.errno or errno.EIO)}")


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
