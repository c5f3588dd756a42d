"""A reader of the local API, written without syncd's code and without mercy: a cut answer is an error.

Everything blocks, with a deadline; nothing is asked twice.
"""

from __future__ import annotations

import json
import socket
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import parse_headers
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self
from urllib.parse import quote

SECONDS = 30.0  # far more than anything takes: a busy machine is no failure
ASK_AGAIN_SECONDS = 0.01


class CutError(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object; the body is nothing else."""
        assert self.headers["Content-Type"] == "application/json", self
        answer = self.json
        assert list(answer) == ["error"], answer
        error: dict[str, Any] = answer["error"]
        assert error["message"], answer
        return error

    @property
    def revision(self) -> int:
        """What Syncd-Revision says."""
        return int(self.headers["Syncd-Revision"])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The body, which is NDJSON."""
        assert self.body.endswith(b"\n"), self.body[-100:]
        return [json.loads(line) for line in self.body.splitlines()]


class Stream:
    """One answer as it comes; also the only one on its connection."""

    def __init__(
        self,
        path: Path,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        seconds: float = SECONDS,
        receive_buffer: int | None = None,
        connection: socket.socket | None = None,
    ) -> None:
        self.socket = connection or connected(path, seconds, receive_buffer)
        try:
            fields = {"Host": "localhost", "Connection": "close", **(headers or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            self.socket.sendall(
                f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape")
            )
            self._file = self.socket.makefile("rb")
            self.status, self.headers = read_head(self._file.readline)
        except BaseException:
            self.socket.close()
            raise
        self.ended = False
        """Whether the answer came to its proper end."""
        self._bodyless = method == "HEAD" or self.status in (204, 304)

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces; CutError when it ends too early."""
        file = self._file
        if self._bodyless:
            pass
        elif self.headers["Transfer-Encoding"] == "chunked":
            while True:
                head = file.readline()
                if not head.endswith(b"\n"):
                    raise CutError(f"in the middle of a chunked answer: {head!r}")
                size = int(head, 16)
                piece = file.read(size + 2)
                if len(piece) < size + 2:
                    raise CutError("in the middle of a chunk")
                if not size:
                    break
                yield piece[:-2]
        elif (length := self.headers["Content-Length"]) is not None:
            piece = file.read(int(length))
            if len(piece) < int(length):
                raise CutError(f"{len(piece)} bytes of {length}")
            yield piece
        else:
            while piece := file.read(1 << 16):
                yield piece
        self.ended = True

    def lines(self) -> Iterator[bytes]:
        """The body's lines, as soon as they are complete."""
        begun = b""
        for chunk in self.chunks():
            *whole, begun = (begun + chunk).split(b"\n")
            yield from whole
        assert not begun, f"the last line has no end: {begun!r}"

    def documents(self) -> Iterator[dict[str, Any]]:
        """The lines of NDJSON as objects."""
        return map(json.loads, self.lines())

    def whole(self) -> Answer:
        """Everything, at once."""
        body = b"".join(self.chunks())
        self.close()
        return Answer(self.status, self.headers, body)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connected(path: Path, seconds: float = SECONDS, receive_buffer: int | None = None) -> socket.socket:
    """A connection on which nothing was said yet."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def ask(path: Path, target: str, method: str = "GET", **headers: str) -> Answer:
    """One request; `_` in the names of headers stands for `-`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with Stream(path, target, fields, method=method) as stream:
        return stream.whole()


def raw(path: Path, sent: bytes, *, hang_up: bool = True) -> bytes:
    """Send any bytes, and return whatever comes back until the other side hangs up."""
    with connected(path) as connection:
        try:
            connection.sendall(sent)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has seen enough
        received = b""
        try:
            while more := connection.recv(1 << 16):
                received += more
        except ConnectionResetError:
            pass
        return received


def target(call: str, /, **parameters: object) -> str:
    """The target of `GET /v1/CALL`; bytes are percent-encoded byte for byte, `from_` is `from`."""
    query = "&".join(
        f"{name.rstrip('_')}={quote(value if isinstance(value, bytes) else _text(value), safe='/')}"
        for name, value in parameters.items()
    )
    return f"/v1/{call}?{query}"


def record_bytes(record: Mapping[str, Any], name: str) -> bytes:
    """`key` or `value` of a record, from either of its forms."""
    if name in record:
        assert f"{name}_b64" not in record
        text: str = record[name]
        return text.encode()
    return b64decode(record[f"{name}_b64"], validate=True)


def wait_until(condition: Callable[[], object], what: str = "", seconds: float = SECONDS) -> None:
    """Ask again and again, until it is so; AssertionError when it does not become so."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"still not so after {seconds:g} s: {what or condition}"
        sleep(ASK_AGAIN_SECONDS)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_head(readline: Callable[[], bytes]) -> tuple[int, Message]:
    """Status and headers, line by line; CutError when there are none."""
    first = readline()
    if not first.endswith(b"\n"):
        raise CutError(f"no status line: {first!r}")
    version, status, _ = first.decode().split(" ", 2)
    assert version in ("HTTP/1.1", "HTTP/1.0"), first

    class Lines:
        def readline(self, _limit: int = -1) -> bytes:
            return readline()

    return int(status), parse_headers(Lines())
