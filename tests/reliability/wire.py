"""HTTP/1.1 on a Unix socket, as much of it as the readers need: GET, answers of a length or in chunks."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET
from time import monotonic
from types import TracebackType
from typing import Self
from urllib.parse import quote

READ_BYTES = 1 << 16


class Cut(Exception):
    """The connection ended before the answer did."""


def target(call: str, /, **parameters: object) -> str:
    """The target of `GET /v1/CALL`; bytes are percent-encoded, `from_` is `from`, None is left out."""
    query = "&".join(
        f"{name.rstrip('_')}={quote(value if isinstance(value, bytes) else _text(value), safe='/')}"
        for name, value in parameters.items()
        if value is not None
    )
    return f"/v1/{call}?{query}"


class Connection:
    """One connection; one answer after the other. `sip`: bytes that are taken at a time."""

    def __init__(self, connection: socket.socket, sip: int) -> None:
        self._socket = connection
        self._sip = sip
        self._received = bytearray()
        self._length = 0  # what is left of the answer or of its chunk
        self._chunked = False
        self._ended = True
        self._lines: deque[bytes] = deque()
        self._begun = bytearray()
        credentials = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]
        """Of the process at the other end."""
        self.status = 0
        self.headers: dict[str, str] = {}
        """Their names in lower case."""
        self.empty_at = 0.0
        """When nothing more was there to be read, the last time: what was read later was sent later."""

    @classmethod
    async def open(cls, path: Path, sip: int = READ_BYTES) -> Self:
        """Connect; OSError when nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, str(path))
            return cls(connection, sip)
        except BaseException:
            connection.close()
            raise

    async def send(self, data: bytes) -> None:
        """Send anything; OSError."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def ask(self, target: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a request, and read the head of the answer; Cut, OSError."""
        fields = {"Host": "localhost", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        await self.send(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        status, *lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(status.split(" ", 2)[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        self._chunked = self.headers.get("transfer-encoding") == "chunked"
        self._length = 0 if self.status == 304 else int(self.headers.get("content-length", 0))
        self._ended = not self._chunked and not self._length

    async def piece(self) -> bytes:
        """A piece of the body; empty at its proper end. Cut, OSError."""
        if self._ended:
            return b""
        if self._chunked and not self._length:
            self._length = int(await self._until(b"\r\n"), 16)
            if not self._length:
                await self._until(b"\r\n")
                self._ended = True
                return b""
        if not self._received:
            await self._receive()
        piece = bytes(self._received[: self._length])
        del self._received[: self._length]
        self._length -= len(piece)
        if not self._length:
            if self._chunked:
                await self._until(b"\r\n")
            else:
                self._ended = True
        return piece

    async def line(self) -> bytes | None:
        """The body's next line; None at its proper end. Cut, OSError."""
        while not self._lines:
            piece = await self.piece()
            if not piece:
                if self._begun:
                    raise Cut(f"the last line has no end: {bytes(self._begun[:100])!r}")
                return None
            *whole, rest = piece.split(b"\n")
            if whole:
                whole[0] = bytes(self._begun) + whole[0]
                self._lines.extend(whole)
                self._begun.clear()
            self._begun += rest
        return self._lines.popleft()

    async def body(self) -> bytes:
        """The whole body. Cut, OSError."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Hang up at once."""
        self._socket.close()

    async def _until(self, mark: bytes) -> bytes:
        """What comes before `mark`, which is taken away too."""
        while (end := self._received.find(mark)) < 0:
            await self._receive()
        before = bytes(self._received[:end])
        del self._received[: end + len(mark)]
        return before

    async def _receive(self) -> None:
        try:
            data = self._socket.recv(self._sip)
            await asyncio.sleep(0)  # a flood shall not keep the others from reading
        except BlockingIOError:
            self.empty_at = monotonic()
            data = await asyncio.get_running_loop().sock_recv(self._socket, self._sip)
        if not data:
            raise Cut(f"after {bytes(self._received[-100:])!r}")
        self._received += data

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
