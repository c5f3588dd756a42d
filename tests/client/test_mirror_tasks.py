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
    with pytest.raises(NotReadyError, match="no more changes of '/': the mirror was closed"):
        await changes.next()
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


async def test_hooks_may_start_and_close_it(new_etcd: Etcd, daemon: Daemon) -> None:
    """Each in a task of its own, as of an application's life; it lives once."""
    mirror = mirror_of(daemon)
    await mirror.close()

    async def start() -> None:
        assert await mirror.start() is await mirror.start() is mirror

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(start(), name="start")
    await mirror.wait(new_etcd.put("/a", "1"), SECONDS)
    for _ in range(2):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(mirror.close(), name="close")
    assert not [task for task in asyncio.all_tasks() if "mirror" in task.get_name()]
    assert (mirror["/a"], mirror.state, str(mirror.error)) == (b"1", "stale", "the mirror was closed")
    with pytest.raises(RuntimeError, match=r"cannot start the mirror of '/' again.*: the mirror was closed"):
        await mirror.start()
    with pytest.raises(RuntimeError, match="again"):
        async with mirror:
            pass


async def test_a_task_that_ends_says_so(daemon: Daemon) -> None:
    """When somebody cancels it who cancels all; a CancelledError that a callback raises does not."""

    def cancel(_: object) -> None:
        raise asyncio.CancelledError

    async with mirror_of(daemon) as mirror:
        mirror.subscribe(cancel)
        await mirror.wait_ready(SECONDS)
        await until(lambda: mirror.state == "live")
        (task,) = [task for task in asyncio.all_tasks() if "mirror" in task.get_name()]
        task.cancel()
        with pytest.raises(NotReadyError, match="the task that kept the mirror has ended"):
            await mirror.changes().next(SECONDS)
        assert (mirror.state, mirror.connected) == ("stale", False)


async def test_a_single_key_is_mirrored_as_such(new_etcd: Etcd, daemon: Daemon) -> None:
    """And not what begins like it."""
    new_etcd.txn_put([("/flags", "1"), ("/flags/2", "2")])
    async with AsyncMirror(key="/flags", socket_path=str(daemon.socket)) as mirror:
        await mirror.wait(new_etcd.revision(), SECONDS)
        assert dict(mirror) == {"/flags": b"1"}
