"""HTTP/1.1 on a Unix socket, as much of it as the readers need: GET, answers of a length or in chunks."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET
from time import monotonic
from types import TracebackType
from typing import Self
from urllib.parse import quote

READ_BYTES = 1 << 16

PATIENCE_SECONDS = 30.0
"""For an answer to begin, or to go on: a daemon that is paused for some seconds answers before that."""


class Cut(Exception):
    """The connection ended before the answer did."""


class Silent(Exception):
    """The connection is there, and nothing comes."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end; `started` tells it from a later one with its number, '' is none."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Peer:
        """The one that has this number now."""
        return cls(pid, _started(pid))

    @property
    def ended(self) -> bool:
        """Whether it has; also when nobody has waited for it yet."""
        return not self.started or _started(self.pid) != self.started


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
        self._took_at = monotonic()
        self._patience = PATIENCE_SECONDS
        credentials = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        self.peer = Peer.of(struct.unpack("3i", credentials)[0])
        self.longest_pause = 0.0
        """Seconds for which nothing was taken from here, at most."""
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

    @property
    def pid(self) -> int:
        """Of the process at the other end."""
        return self.peer.pid

    async def send(self, data: bytes) -> None:
        """Send anything; Cut."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError as error:
            raise Cut(f"while sending: {error}") from error

    async def ask(self, target: str, headers: Mapping[str, str] | None = None, wait: float = 0.0) -> None:
        """Send a request, and read the head of the answer; Cut, Silent. `wait`: seconds that it may take."""
        fields = {"Host": "localhost", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        await self.send(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        self._patience = PATIENCE_SECONDS + wait
        status, *lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self._patience = PATIENCE_SECONDS
        self.status = int(status.split(" ", 2)[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        self._chunked = self.headers.get("transfer-encoding") == "chunked"
        self._length = 0 if self.status == 304 else int(self.headers.get("content-length", 0))
        self._ended = not self._chunked and not self._length

    async def piece(self) -> bytes:
        """A piece of the body; empty at its proper end. Cut, Silent."""
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
        """The body's next line; None at its proper end. Cut, Silent."""
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
        """The whole body. Cut, Silent."""
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
        self.longest_pause = max(self.longest_pause, monotonic() - self._took_at)
        try:
            data = self._socket.recv(self._sip)
            await asyncio.sleep(0)  # a flood shall not keep the others from reading
        except BlockingIOError:
            self.empty_at = monotonic()
            data = await self._wait()
        except OSError as error:
            raise Cut(f"{error}, after {bytes(self._received[-100:])!r}") from error
        if not data:
            raise Cut(f"after {bytes(self._received[-100:])!r}")
        self._took_at = monotonic()
        self._received += data

    async def _wait(self) -> bytes:
        """What comes next."""
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.get_running_loop().sock_recv(self._socket, self._sip)
        except TimeoutError as error:
            raise Silent(f"for {self._patience:g} s, after {bytes(self._received[-100:])!r}") from error
        except OSError as error:
            raise Cut(f"{error}, after {bytes(self._received[-100:])!r}") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _started(pid: int) -> str:
    """When the process began, in ticks since the machine did; '' when there is none, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat.rpartition(")")[2].split()  # a name may have spaces, and parentheses
    return "" if state in "ZX" else fields[18]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
