"""Who is at the other end of a connection."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncd.serve import peer
from syncd.serve.peer import Peer, peer_of
from tests.serve.local import connected
from tests.serve.others import Other, needs_root, open_to_all

Connect = Callable[[Path], socket.socket]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every user may look into, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        yield Path(name)


@asynccontextmanager
async def accepted(directory: Path, connect: Connect) -> AsyncIterator[asyncio.BaseTransport]:
    """The server's end of a connection that `connect` makes to a socket in `directory`."""
    arrived: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_unix_server(lambda _, writer: arrived.put_nowait(writer), directory / "s")
    async with server:
        open_to_all(directory / "s")
        with await asyncio.to_thread(connect, directory / "s"):
            writer = await arrived.get()
            yield writer.transport
            writer.close()
            await writer.wait_closed()


async def test_it_is_this_process(folder: Path) -> None:
    """With its user, its groups and its pid."""
    with_all = frozenset({os.getegid(), *os.getgroups()})
    async with accepted(folder, connected) as transport:
        assert peer_of(transport) == Peer(os.geteuid(), with_all, os.getpid())


@needs_root
@pytest.mark.parametrize("count", [0, 1, 256, 257, 3000])
async def test_all_groups_count(folder: Path, count: int) -> None:
    """The primary one and any number of others; root's own, which the process has left, do not."""
    groups = tuple(range(5_000_000, 5_000_000 + count))
    async with accepted(folder, Other(4_000_001, 4_000_002, groups).connected) as transport:
        found = peer_of(transport)
    assert found == Peer(4_000_001, frozenset({4_000_002, *groups}), found.pid)
    assert not found.runs_the_daemon


async def test_a_kernel_that_does_not_tell_the_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then those of the user database count."""
    monkeypatch.setattr(peer, "_SO_PEERGROUPS", 9999)
    name = pwd.getpwuid(os.geteuid()).pw_name
    async with accepted(folder, connected) as transport:
        assert peer_of(transport).groups == frozenset(os.getgrouplist(name, os.getegid()))


@needs_root
async def test_a_user_that_the_database_does_not_know(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has its primary group alone when the kernel tells no others."""
    monkeypatch.setattr(peer, "_SO_PEERGROUPS", 9999)
    async with accepted(folder, Other(4_000_001, 4_000_002, (4_000_003,)).connected) as transport:
        assert peer_of(transport).groups == {4_000_002}


async def test_nobody_is_known_through_tcp() -> None:
    """Not even this process."""
    arrived: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: arrived.put_nowait(writer), "127.0.0.1", 0)
    async with server:
        _, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer = await arrived.get()
        assert peer_of(writer.transport) == Peer(None, frozenset(), 0)
        assert not peer_of(writer.transport).runs_the_daemon
        for each in (client, writer):
            each.close()
            await each.wait_closed()


def test_who_is_gone_cannot_be_looked_at() -> None:
    """The connection was closed meanwhile."""
    with pytest.raises(ConnectionResetError):
        peer_of(None)


def test_who_runs_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, and the user that it runs as."""
    monkeypatch.setattr(os, "geteuid", lambda: 33)
    assert [Peer(uid).runs_the_daemon for uid in (0, 33, 34, None)] == [True, True, False, False]
