"""The front for asyncio: `AsyncClient`. It is the only part of the client that needs asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from syncd.client.reader import DEFAULT_TIMEOUT, Reader, SocketPath


class AsyncClient(Reader):
    """Reads from the daemon behind a Unix socket; as `Client`, with `await`, `async for` and `async with`.

    Any number of tasks may share it, and it is not bound to an event loop: idle connections are plain
    sockets that no loop knows of. A snapshot or a watch is for one task at a time.
    """

    def __init__(self, socket_path: SocketPath | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        super().__init__(socket_path, timeout, _Suspending())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Suspending:
    """Waits as a task does."""

    async def readable(self, sock: socket.socket, seconds: float) -> None:
        """Wait until there is something to read, or an end."""
        loop = asyncio.get_running_loop()
        await _called_back(loop.add_reader, loop.remove_reader, sock.fileno(), seconds)

    async def writable(self, sock: socket.socket, seconds: float) -> None:
        """Wait until there is room to write."""
        loop = asyncio.get_running_loop()
        await _called_back(loop.add_writer, loop.remove_writer, sock.fileno(), seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait for nothing but the time."""
        await asyncio.sleep(seconds)


async def _called_back(
    add: Callable[..., Any], remove: Callable[[int], Any], descriptor: int, seconds: float
) -> None:
    """Wait for a descriptor without touching what is in it: nothing is lost when this is cancelled."""
    called = asyncio.Event()
    add(descriptor, called.set)
    try:
        async with asyncio.timeout(seconds):
            await called.wait()
    finally:
        remove(descriptor)
