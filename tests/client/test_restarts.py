"""Both fronts while a real daemon stops, dies, hangs and comes back."""

import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from syncd.client import (
    AsyncWatch,
    ClosingError,
    CompactedError,
    ConnectError,
    Interrupted,
    NotReadyError,
    SilenceError,
    SnapshotEnd,
    SnapshotHead,
)
from syncd.records import Batch, Record
from tests.client.fronts import Front
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import wait_until

Held = dict[bytes, bytes]


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd, and keeps nothing on disk."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


@pytest.fixture
def kept(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that has a copy on disk."""
    daemon = Daemon(new_etcd.endpoint)
    daemon.settings["cache"] = {"directory": str(daemon.directory / "copies")}
    daemon.write()
    with daemon:
        wait_until_saved(daemon.wait_for("live"), 1)
        yield daemon


def wait_until_saved(daemon: Daemon, revision: int) -> None:
    """Wait until a revision is on the disk."""
    wait_until(lambda: daemon.range_status()["cache"]["revision"] >= revision, f"{revision} on the disk")


@contextmanager
def writing(etcd: Etcd) -> Iterator[list[int]]:
    """Put keys all the time; gives their revisions."""
    revisions: list[int] = []
    stop = Event()

    def write() -> None:
        while not stop.wait(0.002):
            revisions.append(etcd.put(f"/{len(revisions) % 7}", str(len(revisions))))

    writer = Thread(target=write, name="writer")
    writer.start()
    try:
        yield revisions
    finally:
        stop.set()
        writer.join()


async def follow(watch: AsyncWatch, held: Held, revision: int) -> None:
    """Apply what a watch tells, until that is as of `revision`."""
    async for change in watch:
        match change:
            case SnapshotHead():
                held.clear()
            case Record():
                held[change.key] = change.value
            case Batch():
                for event in change.events:
                    if event.deleted:
                        del held[event.kv.key]
                    else:
                        held[event.kv.key] = event.kv.value
        if watch.bookmark and watch.bookmark.revision >= revision:
            return


def values(etcd: Etcd) -> Held:
    """Return what etcd holds."""
    return {kv.key: kv.value for kv in etcd.range_prefix("/").kvs}


async def test_nothing_is_missing_and_nothing_comes_twice(front: Front, kept: Daemon, new_etcd: Etcd) -> None:
    """The daemon is killed and started twice while writes go on: each revision is one batch, in order."""
    seen: list[int] = []
    async with front(str(kept.socket)).watch("/") as watch:
        with writing(new_etcd) as revisions:
            for _ in range(2):
                seen += [await next_revision(watch) for _ in range(20)]
                kept.kill()
                kept.launch()
                interrupted = False
                while not interrupted:  # what had come before is still told
                    message = await watch.receive()
                    seen += [message.revision] if isinstance(message, Batch) else []
                    interrupted = isinstance(message, Interrupted)
            seen += [await next_revision(watch) for _ in range(20)]
        while seen[-1] < revisions[-1]:
            seen.append(await next_revision(watch))
    assert seen == revisions


async def next_revision(watch: AsyncWatch) -> int:
    """Wait for the next batch, which is no resync."""
    batch = await anext(aiter(watch))
    assert isinstance(batch, Batch)
    assert not batch.resync
    return batch.revision


async def test_a_gap_that_etcd_made_is_a_resync(front: Front, kept: Daemon, new_etcd: Etcd) -> None:
    """While the daemon was away, etcd forgot: the difference comes as a batch that says what it is."""
    held: Held = {}
    async with front(str(kept.socket)).watch("/", with_snapshot=True) as watch:
        for number in range(3):
            revision = new_etcd.put(f"/{number}", "old")
        await follow(watch, held, revision)
        wait_until_saved(kept, revision)
        kept.kill()
        new_etcd.delete("/0")
        new_etcd.put("/1", "lost")
        revision = new_etcd.put("/1", "new")
        new_etcd.compact(revision)
        kept.launch()
        resync = await anext(aiter(watch))
        assert isinstance(resync, Batch)
        assert (resync.resync, resync.revision) == (True, revision)
        assert {one.kv.key: one.deleted for one in resync.events} == {b"/0": True, b"/1": False}


async def test_what_a_daemon_without_a_copy_forgets_is_told_anew(
    front: Front, daemon: Daemon, new_etcd: Etcd
) -> None:
    """It cannot know whether etcd was wiped meanwhile: a snapshot replaces all that was told before."""
    held: Held = {}
    async with front(str(daemon.socket)).watch("/", with_snapshot=True) as watch:
        await follow(watch, held, new_etcd.put("/a", "1"))
        daemon.kill()
        new_etcd.delete("/a")
        revision = new_etcd.put("/b", "2")
        daemon.launch()
        await follow(watch, held, revision)
        assert held == values(new_etcd) == {b"/b": b"2"}
        await follow(watch, held, new_etcd.put("/b", "3"))
        assert held == {b"/b": b"3"}


async def test_without_a_snapshot_no_bookmark_outlives_it(front: Front, daemon: Daemon) -> None:
    """The watch ends with an error, and so would another one after that bookmark."""
    client = front(str(daemon.socket))
    async with client.watch("/") as watch:
        daemon.stop()
        told = [await watch.receive() for _ in range(3)]
        lost = next(one for one in told if isinstance(one, Interrupted))
        assert isinstance(lost.error, ClosingError)
        daemon.start().wait_for("live")
        with pytest.raises(CompactedError):
            [change async for change in watch]
        assert watch.bookmark is not None
        with pytest.raises(CompactedError) as caught:
            await client.watch("/", after=watch.bookmark).open()
        assert caught.value.oldest_revision is not None


async def test_a_daemon_that_hangs_is_noticed(front: Front, daemon: Daemon, new_etcd: Etcd) -> None:
    """A watch hears nothing for three heartbeats, a read nothing for its time-out; both come back."""
    client = front(str(daemon.socket), timeout=0.2)
    async with client.watch("/", heartbeat=0.1) as watch:
        daemon.signal(signal.SIGSTOP)
        async for message in watch.messages():
            if isinstance(message, Interrupted) and message.failures:
                assert isinstance(message.error, SilenceError)
                break
        with pytest.raises(SilenceError):
            await client.status()
        daemon.signal(signal.SIGCONT)
        revision = new_etcd.put("/k", "1")
        batch = await anext(aiter(watch))
        assert isinstance(batch, Batch)
        assert batch.revision == revision
    assert (await client.status(timeout=30)).version
    client.close()


async def test_a_daemon_that_is_not_there_yet_is_waited_for(front: Front, new_etcd: Etcd) -> None:
    """Its socket, and its first read, of an etcd that is not there yet either."""
    revision = new_etcd.put("/a", "1")
    new_etcd.stop()
    with Daemon(new_etcd.endpoint) as daemon:
        daemon.kill()
        daemon.socket.unlink()
        watch = front(str(daemon.socket)).watch("/", with_snapshot=True, patience=math.inf)
        errors = []
        async for message in watch.messages():
            if isinstance(message, Interrupted):
                errors.append(type(message.error))
                if errors == [ConnectError]:
                    daemon.launch()
                if errors[-1] is NotReadyError and not new_etcd.is_running:
                    new_etcd.start()
            if isinstance(message, SnapshotEnd):
                break
        watch.close()
        assert set(errors) == {ConnectError, NotReadyError}
        assert watch.bookmark is not None
        assert watch.bookmark.revision == revision


async def test_reads_survive_a_restart(front: Front, daemon: Daemon, new_etcd: Etcd) -> None:
    """The client makes another connection by itself; only while there is nobody, it says so."""
    revision = new_etcd.put("/k", "1")
    async with front(str(daemon.socket)) as client:
        assert (await client.get("/k", min_revision=revision)).record.value == b"1"
        daemon.stop()
        with pytest.raises(ConnectError):
            await client.get("/k")
        daemon.launch()
        assert (await client.wait(revision, "/")).revision >= revision
        daemon.kill()
        daemon.start().wait_for("live")
        assert (await client.get("/k")).record.value == b"1"


FORKED = """
import os, sys
from syncd.client import Client
client = Client(sys.argv[1])
with client.watch("/", with_snapshot=True) as watch:
    changes = iter(watch)
    while watch.bookmark is None:
        next(changes)
    client.status()
    children = []
    for number in range(3):
        child = os.fork()
        children.append(child)
        if not child:
            break
    os.write(1, b"ready\\n")  # at once, for four of them write
    batch = next(changes)
    assert [(event.kv.key, event.kv.value) for event in batch.events] == [(b"/k", b"1")], batch
    for _ in range(20):
        assert client.get("/k").record.mod_revision == batch.revision
    if not child:
        os._exit(0)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert len(children) == 3
"""


def test_a_forked_child_goes_on_by_itself(daemon: Daemon, new_etcd: Etcd, tmp_path: Path) -> None:
    """Parent and children share a client and a watch from before, and none takes what is another's."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(daemon.socket)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline() == b"ready\n"
    new_etcd.put("/k", "1")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, b"")
