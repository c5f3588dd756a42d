"""HTTP/1.1 as far as the local API needs it, without I/O: bytes in, a head and body bytes out.

Why not http.client: it reads from a blocking socket itself, so an asyncio reader could not share it, and
it costs more to import than all the rest of `syncd get`. syncd answers with a Content-Length or in
chunks, never with a body that merely ends with the connection; such a body is refused here, because
nobody could tell it from one that was cut.
"""

from __future__ import annotations

import enum

import msgspec

from syncd.client.errors import CutError, ProtocolError

MAX_HEAD = 64 * 1024
"""Bytes of status line and headers; syncd's take a few hundred."""

MAX_LINE = 1024
"""Bytes of a chunk-size or trailer line."""

MAX_DIGITS = 18
"""Of a length; Python refuses to read numbers of thousands of digits with an error of its own."""

_HEX = b"0123456789abcdefABCDEF"


class Head(msgspec.Struct, frozen=True):
    """Status and headers of an answer; header names are in lower case."""

    status: int
    headers: dict[str, str]

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request after this answer."""
        return self.headers.get("connection", "").lower() != "close"


def encode_request(target: str, headers: dict[str, str], method: str = "GET") -> bytes:
    """Encode a request without a body for `target`, a path and query that are percent-encoded already."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if method != "GET":
        lines.append("Content-Length: 0")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class _State(enum.Enum):
    HEAD = "head"
    LENGTH = "body of a known length"
    CHUNK_SIZE = "chunk size"
    CHUNK_DATA = "chunk data"
    CHUNK_END = "end of chunk"
    TRAILERS = "trailers"
    DONE = "done"


class ResponseReader:
    """Reads one answer. Feed it what the socket gave; it never asks for a byte twice.

    `head` is None until the headers are complete, `done` is True once the body is.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self._state = _State.HEAD
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer in which the head does not end
        self._missing = 0  # bytes of the body, or of the chunk, that have not come yet

    @property
    def done(self) -> bool:
        """Whether the whole answer has been read."""
        return self._state is _State.DONE

    def feed(self, data: bytes) -> bytes:
        """Take what the socket gave and return the body bytes in it.

        `b""` is the end of the connection: a CutError unless the answer is complete. What is not HTTP
        raises ProtocolError.
        """
        if not data and not self.done:
            raise CutError(f"the answer was cut in its {self._state.value}")
        self._buffer += data
        body: list[bytes] = []
        while self._step(body):
            pass
        return body[0] if len(body) == 1 else b"".join(body)

    def _step(self, body: list[bytes]) -> bool:
        """Do what the buffer allows in this state; False when more bytes are needed first."""
        match self._state:
            case _State.HEAD:
                return self._read_head()
            case _State.LENGTH | _State.CHUNK_DATA:
                return self._read_data(body)
            case _State.CHUNK_SIZE:
                return self._read_chunk_size()
            case _State.CHUNK_END:
                return self._read_chunk_end()
            case _State.TRAILERS:
                return self._read_trailer()
            case _State.DONE:
                if self._buffer:
                    raise ProtocolError("bytes after the end of the answer")
                return False

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", max(self._searched - 3, 0), MAX_HEAD)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD:
                raise ProtocolError("the answer's headers do not end")
            self._searched = len(self._buffer)
            return False
        head = _parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._searched = 0
        if head.status < 200:  # 100 Continue and its like only announce the answer
            return True
        self.head = head
        if head.status in {204, 304}:
            self._state = _State.DONE
        elif head.headers.get("transfer-encoding", "").lower() == "chunked":
            self._state = _State.CHUNK_SIZE
        elif (length := head.headers.get("content-length", "")).isdecimal() and len(length) <= MAX_DIGITS:
            self._missing = int(length)
            self._state = _State.LENGTH if self._missing else _State.DONE
        else:
            raise ProtocolError("the answer has neither a length nor chunks")
        return True

    def _read_data(self, body: list[bytes]) -> bool:
        if not self._buffer:
            return False
        piece = bytes(self._buffer[: self._missing])
        del self._buffer[: len(piece)]
        self._missing -= len(piece)
        body.append(piece)
        if not self._missing:
            self._state = _State.DONE if self._state is _State.LENGTH else _State.CHUNK_END
        return True

    def _read_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(_HEX):  # int() would take signs and underscores too
            raise ProtocolError(f"a chunk of size {digits[:20]!r}")
        self._missing = int(digits, 16)
        self._state = _State.CHUNK_DATA if self._missing else _State.TRAILERS
        return True

    def _read_chunk_end(self) -> bool:
        line = self._line()
        if line:
            raise ProtocolError("a chunk is longer than its size")
        if line is not None:
            self._state = _State.CHUNK_SIZE
        return line is not None

    def _read_trailer(self) -> bool:
        line = self._line()
        if line == b"":
            self._state = _State.DONE
        return line is not None

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, MAX_LINE)
        if end < 0:
            if len(self._buffer) > MAX_LINE:
                raise ProtocolError("a line of the chunked body does not end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _parse_head(text: bytes) -> Head:
    status_line, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdecimal():
        raise ProtocolError(f"this is not an HTTP answer: {status_line[:60]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ProtocolError(f"this is not a header: {line[:60]!r}")
        headers[name.strip().lower()] = value.strip()
    return Head(int(status), headers)
