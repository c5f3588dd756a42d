"""`AsyncMirror` beside a real daemon and a real etcd."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator

import pytest

from syncd.client import AsyncMirror, ConnectError, NotReadyError, TooStaleError, Update
from tests.client.mirrors import HEARTBEAT, SECONDS, contents
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.until import until


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


def mirror_of(daemon: Daemon) -> AsyncMirror[bytes]:
    """A mirror whose age begins anew often."""
    return AsyncMirror("/", socket_path=str(daemon.socket), heartbeat=HEARTBEAT)


async def test_it_follows_across_a_restart_of_the_daemon(new_etcd: Etcd, daemon: Daemon) -> None:
    """With a snapshot that stays as it is, and changes that tell of a gap."""
    new_etcd.txn_put([("/a", "1"), ("/b", "1")])
    async with mirror_of(daemon) as mirror:
        await mirror.wait(new_etcd.revision(), SECONDS)
        changes = mirror.changes()
        view = mirror.snapshot()
        assert dict(view) == mirror == contents(new_etcd) == {"/a": b"1", "/b": b"1"}
        await mirror.wait(new_etcd.put("/c", "2"), SECONDS)
        assert dict(view) == {"/a": b"1", "/b": b"1"}
        assert (await changes.next(SECONDS)).changes[0].key == "/c"
        daemon.kill()
        await until(lambda: not mirror.connected)
        assert (mirror.state, mirror["/c"]) == ("stale", b"2")
        revision = new_etcd.delete("/a")
        daemon.start()
        update = await changes.next(SECONDS)
        assert (update.gap, update.revision) == (True, revision)
        assert [(one.key, one.kind, one.old) for one in update.changes] == [("/a", "removed", b"1")]
        assert mirror == contents(new_etcd)
    assert [left async for left in changes] == []
    assert mirror["/b"] == b"1"
    assert "closed" in str(mirror.error)


async def test_waiting_ends_with_the_reason(new_etcd: Etcd) -> None:
    """No socket, then no such revision."""
    daemon = Daemon(new_etcd.endpoint)
    async with mirror_of(daemon) as mirror:
        with pytest.raises(NotReadyError, match="No such file") as caught:
            await mirror.wait_ready(0.05)
        assert isinstance(caught.value.__cause__, ConnectError)
        with pytest.raises(TooStaleError):
            await mirror.wait(1, 0.01)
        with daemon:
            await mirror.wait_ready(SECONDS)
            with pytest.raises(TooStaleError, match="did not come in time"):
                await mirror.wait(1 << 40, 0.01)
            with pytest.raises(TimeoutError):
                await mirror.changes().next(0.01)


async def test_an_error_inside_comes_out_as_it_is(daemon: Daemon) -> None:
    """Not in a group, for the task is none of the caller's business; and it is over."""
    told: list[Update[object]] = []
    socket = str(daemon.socket)

    async def fail() -> None:
        async with AsyncMirror("/", decode=json, socket_path=socket, on_change=told.append) as mirror:
            await mirror.wait_ready(SECONDS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert [update.gap for update in told] == [True]
    assert not [task for task in asyncio.all_tasks() if "mirror" in task.get_name()]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
async def test_a_forked_child_has_what_was_there_and_knows_its_place(new_etcd: Etcd, daemon: Daemon) -> None:
    """Its parent's event loop does not run in it."""
    async with mirror_of(daemon) as mirror:
        await mirror.wait(new_etcd.put("/a", "1"), SECONDS)
        child = os.fork()
        if not child:
            stale = mirror.snapshot()["/a"] == b"1" and mirror.state == "stale"
            os._exit(0 if stale and "forked" in str(mirror.error) else 1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
        assert mirror.state == "live"
        await mirror.wait(new_etcd.put("/a", "2"), SECONDS)
