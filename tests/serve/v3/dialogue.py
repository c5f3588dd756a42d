"""One watch stream of etcd's API, on a raw connection: to a real etcd or to a daemon, in the same words."""

from __future__ import annotations

import json
import socket
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import parse_headers
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from tests.calls import prefix_end
from tests.serve.local import SECONDS, CutError, connected

Document = dict[str, Any]


class Dialogue:
    """A stream; with `whole` its body is sent at once, and is all that is ever asked for."""

    def __init__(
        self,
        connection: socket.socket,
        whole: bytes | None = None,
        *,
        path: str = "/v3/watch",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self.ended = False
        """Whether the answer came to its proper end."""
        self.chunks: list[bytes] = []
        """All that were heard so far."""
        self._rest = b""
        self._documents: list[Document] = []
        self._head: tuple[int, Message] | None = None
        fields = {"Host": "localhost", **(headers or {})}
        if whole is None:
            fields |= {"Expect": "100-continue", "Transfer-Encoding": "chunked"}
        else:
            fields["Content-Length"] = str(len(whole))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + (whole or b""))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def say(self, data: bytes) -> None:
        """Send a chunk of the body."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def ask(self, **request: Any) -> None:
        """Send one request."""
        self.say(json.dumps(request).encode())

    def create(self, prefix: str, **fields: Any) -> None:
        """Ask for a watch of all keys with a prefix."""
        self.ask(create_request=create_request(prefix, **fields))

    def progress(self) -> Document:
        """Ask how far it is, and hear that and nothing else."""
        self.ask(progress_request={})
        document = self.hear()
        assert document["watch_id"] == "-1", document
        assert set(document) == {"header", "watch_id"}, document
        return document

    def end_body(self) -> None:
        """Ask for nothing more."""
        self.write(b"0\r\n\r\n")

    @property
    def status(self) -> int:
        """Of the answer; waits for it."""
        return self._begun()[0]

    @property
    def headers(self) -> Message:
        """Those of the answer."""
        return self._begun()[1]

    def hear(self) -> Document:
        """The next result."""
        document = self.hear_any()
        assert list(document) == ["result"], document
        result: Document = document["result"]
        return result

    def hear_failure(self) -> Document:
        """An error, after which the stream ends."""
        document = self.hear_any()
        assert list(document) == ["error"], document
        assert not list(self.listen()), self.chunks
        failure: Document = document["error"]
        return failure

    def hear_any(self) -> Document:
        """The next document; CutError when the stream ends before."""
        while not self._documents:
            chunk = next(self.listen(), None)
            if chunk is None:
                raise CutError(f"the stream ended; {self._rest!r} is left")
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            self._documents += [json.loads(document) for document in whole]
        return self._documents.pop(0)

    def body(self) -> bytes:
        """All of an answer that ends by itself."""
        length = self.headers["Content-Length"]
        return self._file.read(int(length)) if length else b"".join(self.listen())

    def hung_up(self) -> bool:
        """Whether the other side closes the connection now, without a word; waits for that."""
        return self._file.read(1) == b""

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begun(self) -> tuple[int, Message]:
        while self._head is None:
            status = int(self._file.readline().split()[1])
            lines = b""
            while (line := self._file.readline()) not in (b"\r\n", b""):
                lines += line
            if status != 100:
                self._head = status, parse_headers(BytesIO(lines + b"\r\n"))
        return self._head

    def listen(self) -> Iterator[bytes]:
        """The chunks of the answer as they come; nothing once it has ended."""
        assert self.headers["Transfer-Encoding"] == "chunked", (self.status, self.headers.items())
        while not self.ended:
            head = self._file.readline()
            if not head:
                raise CutError("the connection ended before the answer did")
            size = int(head, 16)
            chunk = self._file.read(size + 2)
            if len(chunk) < size + 2:
                raise CutError("in the middle of a chunk")
            if not size:
                self.ended = True
                return
            self.chunks.append(chunk[:-2])
            yield chunk[:-2]


def over_tcp(port: int) -> socket.socket:
    """A connection to a port of this machine."""
    return socket.create_connection(("127.0.0.1", port), SECONDS)


def create_request(prefix: str, **fields: Any) -> dict[str, Any]:
    """The request for a watch of all keys with a prefix."""
    key = prefix.encode()
    return {"key": b64(key), "range_end": b64(prefix_end(key)), **fields}


def b64(data: bytes) -> str:
    """As it stands in JSON."""
    return b64encode(data).decode()


def opened(path: Path, whole: bytes | None = None, held: str | None = None) -> Dialogue:
    """A stream on a Unix socket; `held` is what another syncd says."""
    headers = {} if held is None else {"Syncd-Held": held}
    return Dialogue(connected(path), whole, headers=headers)


def told(document: Document) -> list[tuple[str, bytes, int]]:
    """Its events: what happened, key, revision."""
    return [
        (event.get("type", "PUT"), b64decode(event["kv"]["key"]), int(event["kv"]["mod_revision"]))
        for event in document["events"]
    ]


def revision(document: Document) -> int:
    """What its header says."""
    return int(document["header"]["revision"])
