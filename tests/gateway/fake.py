"""A stand-in for etcd's gateway on a real socket, for the faults that a real one cannot be made to have."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What is written to the connection, as it is, or what is done with it."""

HEADER = {"cluster_id": "1", "member_id": "2", "revision": "7", "raft_term": "2"}
STATUS = {"header": HEADER, "version": "3.5.16", "leader": "2"}


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Write an answer with a Content-Length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def answer(value: object, status: str = "200 OK") -> bytes:
    """Write an answer in JSON."""
    return whole(json.dumps(value).encode(), status)


def chunked(*chunks: bytes, end: bool = False) -> bytes:
    """Write the beginning of an answer in chunks, or all of it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + (b"0\r\n\r\n" if end else b"")


HTML = whole(b"<html><body>Welcome!</body></html>", kind="text/html")
NOT_FOUND = whole(b"404 page not found\n", "404 Not Found", "text/plain")


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side gives up."""
    while await reader.read(65536):
        pass


@dataclass
class Fake:
    """Answers each path as scripted, then closes the connection; other paths are not found.

    `answers` may be changed between calls. `requests` has the method, path and headers of all that came.
    """

    answers: dict[str, Answer] = field(
        default_factory=lambda: {
            "/version": answer({"etcdserver": "3.5.16", "etcdcluster": "3.5.0"}),
            "/v3/maintenance/status": answer(STATUS),
        }
    )
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [request.split()[1] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            scripted = self.answers.get(head.split()[1], NOT_FOUND)
            # To close with unread bytes would reset the connection, and the answer might get lost.
            if "100-continue" in head:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await reader.readuntil(b"\r\n{")
                await reader.readuntil(b"\r\n")
            elif length := re.search(r"(?i)content-length: (\d+)", head):
                await reader.readexactly(int(length[1]))
            if isinstance(scripted, bytes):
                writer.write(scripted)
            else:
                await scripted(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def fake_gateway(answers: dict[str, Answer] | None = None) -> AsyncIterator[Fake]:
    """A fake on a port of its own; `answers` are added to those that make it look like etcd."""
    fake = Fake()
    fake.answers |= answers or {}
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
        await server.wait_closed()
