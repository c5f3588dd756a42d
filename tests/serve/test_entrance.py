"""Where connections come in, when there is no room for them, and when it is shut."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncd.serve import entrance as module
from syncd.serve.entrance import Entrance
from syncd.serve.places import Places
from syncd.serve.tally import Tally
from tests.until import until


class Echo(asyncio.Protocol):
    """Says what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Say it."""
        self.transport.write(data)


@asynccontextmanager
async def entrance(path: Path, places: int = 100) -> AsyncIterator[Entrance]:
    """One on a Unix socket."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(path))
        async with Entrance(listener, Echo, Places(places, Tally(loop.time), "turned away")) as entrance:
            yield entrance


@pytest.fixture
def path(folder: Path) -> Path:
    """Where it is."""
    return folder / "sock"


@contextmanager
def no_more_files() -> Iterator[None]:
    """None may be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_without_files_to_open(path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[Any]) -> None:
    """Who connects must wait until there are some again; the log is told once."""
    monkeypatch.setattr(module, "LATER", 0.01)
    opened: list[Entrance] = []
    open_it = Entrance._open

    def opening(self: Entrance) -> None:
        opened.append(self)
        open_it(self)

    monkeypatch.setattr(Entrance, "_open", opening)
    async with entrance(path):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            with no_more_files():
                client.connect(str(path))
                await until(lambda: len(opened) > 3)
            assert [line["event"] for line in logged] == ["no connection can be accepted"]
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"x")
            assert await loop.sock_recv(client, 1) == b"x"
    logged.clear()


async def test_it_is_shut_while_somebody_arrives(path: Path) -> None:
    """Who is accepted, but not yet in, is closed as well."""
    clients = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    async with entrance(path) as door:
        for client in clients:
            client.connect(str(path))
        door._accept()
    for client in clients:
        client.setblocking(False)
    assert clients[0].recv(1) == b""
    for client in clients:
        client.close()


async def test_closed_connections_are_seen_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is closed, but whose reader doesn't take the rest, is cut."""
    monkeypatch.setattr(module, "LEAVING", 0.05)
    made: list[Echo] = []

    class Leaving(Echo):
        def data_received(self, data: bytes) -> None:
            made.append(self)
            self.transport.write(b"x" * (1 << 22))
            self.transport.close()

    monkeypatch.setattr(__name__ + ".Echo", Leaving)
    with socket.socket(socket.AF_UNIX) as client:
        async with entrance(path):
            client.connect(str(path))
            client.sendall(b"x")
            await until(lambda: made)
            await until(lambda: not made[0].transport.get_write_buffer_size())
