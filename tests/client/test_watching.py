"""A watch across interruptions, in both fronts, with a stand-in for the daemon that loses what it shall."""

import math
import socket
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from threading import Thread

import pytest

from syncd.client import (
    AsyncWatch,
    Bookmark,
    ClientError,
    ClosingError,
    CompactedError,
    Connected,
    ConnectError,
    CutError,
    Freshness,
    Interrupted,
    NotReadyError,
    OverloadedError,
    Progress,
    SilenceError,
    SnapshotEnd,
    SnapshotHead,
    Told,
    watching,
)
from syncd.records import Batch, Event, Record
from tests.client.fake import CHUNKED, FakeDaemon, chunks, head, refusal, streamed
from tests.client.fronts import Front

PUT_8 = b'{"revision":8,"events":[{"type":"put","kv":{"key":"/a","mod_revision":8}}]}\n'
PUT_9 = PUT_8.replace(b"8", b"9")
PROGRESS_12 = b'{"revision":12,"progress":true,"state":"live","age_ms":1}\n'
RESYNC_20 = b'{"revision":20,"resync":true,"epoch":"e2","events":[]}\n'
CLOSING = b'{"error":{"code":"closing","message":"bye"}}\n'
COMPACTED = b'{"error":{"code":"compacted","message":"too slow","oldest_revision":7}}\n'
SNAPSHOT = (
    b'{"revision":30,"epoch":"e1","count":1,"state":"live","age_ms":1}\n',
    b'{"key":"/a","value":"x","create_revision":5,"mod_revision":25,"version":2,"lease":0}\n',
    b'{"end":true,"count":1}\n',
)
WHOLE = [
    SnapshotHead(30, "e1", 1, "live", 1),
    Record(b"/a", b"x", 5, 25, 2, 0),
    SnapshotEnd(1),
]
FRESH = Freshness(7, "e1", "live", 12)


def cut(*lines: bytes) -> bytes:
    """Write the beginning of a stream that is then cut."""
    return head(headers=CHUNKED) + chunks(*lines)


async def messages(watch: AsyncWatch, last: type) -> list[Told]:
    """Receive until a message of some kind was there."""
    told: list[Told] = []
    while not told or not isinstance(told[-1], last):
        message = await watch.receive()
        assert message is not None
        told.append(message)
    return told


def batch(revision: int) -> dict[str, object]:
    """Give the parts of a batch, which are not compared by themselves."""
    kv = Record(b"/a", mod_revision=revision)
    return {"revision": revision, "events": (Event(kv),), "epoch": "e1", "resync": False}


def parts(message: object) -> dict[str, object]:
    """Take a batch apart."""
    assert isinstance(message, Batch)
    return {name: getattr(message, name) for name in Batch.__struct_fields__}


async def test_everything_that_happens_is_told(front: Front, path: Path) -> None:
    """Connections, their end, and what came over them, with the line as it was sent."""
    with FakeDaemon(path, [cut(PUT_8, PROGRESS_12)], [cut(PUT_9)]) as daemon:
        async with front(daemon.path).watch("/") as watch:
            assert await watch.receive() == Connected(FRESH, Bookmark(7, "e1"))
            assert watch.line == b""
            assert parts(await watch.receive()) == batch(8)
            assert watch.line + b"\n" == PUT_8
            assert await watch.receive() == Progress(12, "e1", "live", 1)
            lost = await watch.receive()
            assert isinstance(lost, Interrupted)
            assert isinstance(lost.error, CutError)
            assert (lost.failures, watch.line) == (0, b"")
            assert await watch.receive() == Connected(FRESH, Bookmark(12, "e1"))
    assert "&from=" not in daemon.requests[0]
    assert "&from=12&epoch=e1 " in daemon.requests[1]


async def test_iterating_gives_each_batch_once_and_nothing_else(front: Front, path: Path) -> None:
    """Who wants only the changes sees no interruption."""
    scripts = [[cut(PUT_8, PROGRESS_12)], [], [cut(PUT_9)], [streamed(CLOSING)], [cut(RESYNC_20)]]
    with FakeDaemon(path, *scripts) as daemon:
        async with front(daemon.path).watch("/", after=Bookmark(7, "e1")) as watch:
            changes = aiter(watch)
            assert parts(await anext(changes)) == batch(8)
            assert parts(await anext(changes)) == batch(9)
            resync = parts(await anext(changes))
            assert (resync["resync"], resync["revision"], resync["epoch"]) == (True, 20, "e2")
            assert watch.bookmark == Bookmark(20, "e2")
    assert [request.partition("from=")[2][:12] for request in daemon.requests] == [
        "7&epoch=e1 H",
        "12&epoch=e1 ",
        "9&epoch=e1 H",
        "9&epoch=e1 H",
    ]


async def test_a_daemon_that_is_not_well_yet_is_asked_again(front: Front, path: Path) -> None:
    """Each failed attempt is counted."""
    refusals = [refusal(503, "not_ready"), refusal(503, "overloaded"), refusal(503, "too_stale")]
    with FakeDaemon(path, [cut(PUT_8)], *([one] for one in refusals), [cut(PUT_9)]) as daemon:
        async with front(daemon.path).watch("/") as watch:
            await messages(watch, Interrupted)
            told = await messages(watch, Connected)
    assert [type(one.error) for one in told if isinstance(one, Interrupted)][:2] == [
        NotReadyError,
        OverloadedError,
    ]
    assert [one.failures for one in told if isinstance(one, Interrupted)] == [1, 2, 3]


async def test_each_interruption_is_another_one(
    front: Front, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that was well in between is asked again as soon as after the first; else ever more rarely."""
    waits: list[int] = []

    def counted() -> Iterator[float]:
        waits.append(0)
        while True:
            waits[-1] += 1
            yield 0.0

    monkeypatch.setattr(watching, "delays", counted)
    well, ill = [cut(PUT_8)], [head(headers=CHUNKED)]  # who is ill makes a connection, and says nothing
    with FakeDaemon(path, well, [], ill, ill, well, [], well) as daemon:
        async with front(daemon.path).watch("/") as watch:
            for _ in range(3):
                await messages(watch, Batch)
    assert waits == [4, 2]


async def test_a_daemon_that_asks_to_be_left_in_peace_is(
    front: Front, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what it said, here a hundredth of it, however soon one would have come back otherwise."""
    monkeypatch.setattr(watching, "spread", lambda seconds: seconds / 100)
    monkeypatch.setattr(watching, "delays", lambda: repeat(0.0))
    busy = refusal(503, "overloaded", {"Retry-After": "7"})
    with FakeDaemon(path, [busy], [cut(PUT_8)]) as daemon:
        begun = time.monotonic()
        async with front(daemon.path).watch("/", patience=math.inf) as watch:
            assert time.monotonic() - begun >= 0.07
            await messages(watch, Batch)


async def test_silence_is_an_interruption(front: Front, path: Path) -> None:
    """Three heartbeats without a line: the daemon hangs."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        answering = Thread(target=_answer_and_hang, args=(listener,))
        answering.start()
        async with front(str(path)).watch("/", heartbeat=0.01) as watch:
            told = await messages(watch, Interrupted)
        answering.join()
    assert isinstance(told[-1], Interrupted)
    assert isinstance(told[-1].error, SilenceError)
    assert "said nothing for 0.03 s" in str(told[-1].error)


def _answer_and_hang(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(head(headers=CHUNKED))
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("lost", [[streamed(PUT_8, COMPACTED)], [cut(PUT_8)]], ids=["told", "found"])
async def test_lost_history_is_an_error_without_a_snapshot(
    front: Front, path: Path, lost: list[bytes]
) -> None:
    """What was missed cannot be told; where it was lost is known."""
    with FakeDaemon(path, lost, [refusal(410, "compacted")]) as daemon:
        async with front(daemon.path).watch("/") as watch:
            with pytest.raises(CompactedError):
                await messages(watch, SnapshotHead)
            assert watch.bookmark == Bookmark(8, "e1")
            assert await watch.receive() is None


@pytest.mark.parametrize("lost", [[streamed(*SNAPSHOT, COMPACTED)], [cut(*SNAPSHOT)]], ids=["told", "found"])
async def test_lost_history_is_replaced_by_a_snapshot(front: Front, path: Path, lost: list[bytes]) -> None:
    """Another one of everything, and the reason before it."""
    scripts = [lost, *([] if COMPACTED in lost[0] else [[refusal(410, "compacted")]]), [cut(*SNAPSHOT)]]
    with FakeDaemon(path, *scripts) as daemon:
        async with front(daemon.path).watch("/", with_snapshot=True) as watch:
            assert await messages(watch, SnapshotEnd) == [Connected(FRESH, None), *WHOLE]
            assert watch.bookmark == Bookmark(30, "e1")
            told = await messages(watch, SnapshotEnd)
            reasons = [one.error for one in told if isinstance(one, Interrupted)]
            assert isinstance(reasons[-1], CompactedError)
            assert told[len(reasons) :] == [Connected(FRESH, None), *WHOLE]
    assert "&snapshot=true " in daemon.requests[0]
    assert "&snapshot=true " in daemon.requests[-1]


async def test_a_snapshot_that_is_cut_is_begun_anew(front: Front, path: Path) -> None:
    """Half of one is nothing to resume after."""
    with FakeDaemon(path, [cut(*SNAPSHOT[:2])], [cut(*SNAPSHOT, PUT_9)]) as daemon:
        async with front(daemon.path).watch("/", with_snapshot=True) as watch:
            changes = aiter(watch)
            assert [await anext(changes) for _ in range(2)] == WHOLE[:2]
            assert watch.bookmark is None
            assert [await anext(changes) for _ in range(3)] == WHOLE
    assert "&snapshot=true " in daemon.requests[1]


async def test_a_bookmark_is_tried_before_a_snapshot(front: Front, path: Path) -> None:
    """For who keeps what was told somewhere else."""
    kept, lost = [[cut(PUT_8)]], [[refusal(410, "compacted")], [cut(*SNAPSHOT)]]
    for scripts, first in ((kept, Batch), (lost, Record)):
        with FakeDaemon(path, *scripts) as daemon:
            async with front(daemon.path).watch("/", after=7, with_snapshot=True) as watch:
                told = await messages(watch, first)
                assert Connected(FRESH, Bookmark(7, "e1") if first is Batch else None) in told
        assert "&from=7 " in daemon.requests[0]


@pytest.mark.parametrize("code", ["forbidden", "not_mirrored", "bad_request"])
async def test_what_would_fail_again_is_raised(front: Front, path: Path, code: str) -> None:
    """At once, however much patience there is; and the watch is over then."""
    with FakeDaemon(path, [cut(PUT_8)], [refusal(403, code)], [refusal(403, code)]) as daemon:
        async with front(daemon.path).watch("/") as watch:
            with pytest.raises(ClientError) as caught:
                [message async for message in watch]
            assert getattr(caught.value, "code", None) == code
            assert [message async for message in watch] == []
        with pytest.raises(type(caught.value)):
            await front(daemon.path).watch("/", patience=math.inf).open()


async def test_a_first_connection_that_fails_is_an_error(front: Front, path: Path) -> None:
    """Wrong sockets are not to be waited for, unless one wants to."""
    with pytest.raises(ConnectError):
        await front(str(path)).watch("/").open()
    with pytest.raises(ConnectError):
        [message async for message in front(str(path)).watch("/")]
    with FakeDaemon(path, [refusal(503, "not_ready")]) as daemon, pytest.raises(NotReadyError):
        await front(daemon.path).watch("/").open()


async def test_patience_has_an_end(front: Front, path: Path) -> None:
    """With the last error."""
    with pytest.raises(ConnectError):
        await front(str(path)).watch("/", patience=0.05).open()


async def test_a_socket_that_is_not_there_yet_is_waited_for(front: Front, path: Path) -> None:
    """As long as there is patience; who listens to everything hears of it."""
    watch = front(str(path)).watch("/", patience=math.inf)
    for failures in (1, 2):
        told = await watch.receive()
        assert isinstance(told, Interrupted)
        assert isinstance(told.error, ConnectError)
        assert told.failures == failures
        assert watch.bookmark is None
    with FakeDaemon(path, [refusal(503, "not_ready")], [cut(PUT_8)]):
        async with watch:
            assert (await messages(watch, Batch))[0] == Connected(FRESH, Bookmark(7, "e1"))


async def test_what_is_demanded_of_the_beginning_is_not_demanded_again(front: Front, path: Path) -> None:
    """Once it has begun, a watch takes what the daemon has: it goes on from there in any case."""
    refused = refusal(503, "too_stale")
    with FakeDaemon(path, [refused], [cut(*SNAPSHOT[:1])], [cut(*SNAPSHOT)], [cut(PUT_9)]) as daemon:
        watch = front(daemon.path).watch("/", with_snapshot=True, max_age=5, patience=math.inf)
        async with watch:
            await messages(watch, SnapshotEnd)
            await messages(watch, Connected)
    assert ["max_age_ms=5000" in request for request in daemon.requests] == [True, True, True, False]


@pytest.mark.parametrize(
    ("ending", "error"),
    [(streamed(PUT_8, CLOSING), ClosingError), (streamed(PUT_8), ClosingError), (cut(PUT_8), CutError)],
    ids=["a farewell", "an end", "a cut"],
)
async def test_a_watch_that_shall_not_resume_ends_with_its_connection(
    front: Front, path: Path, ending: bytes, error: type[ClientError]
) -> None:
    """And says up to where it came."""
    with FakeDaemon(path, [ending]) as daemon:
        async with front(daemon.path).watch("/", resume=False) as watch:
            assert watch.bookmark == Bookmark(7, "e1")
            with pytest.raises(error):
                [message async for message in watch]
            assert watch.bookmark == Bookmark(8, "e1")


async def test_a_watch_that_was_closed_is_over(front: Front, path: Path) -> None:
    """It does not come back by itself."""
    with FakeDaemon(path, [cut(PUT_8)]) as daemon:
        async with front(daemon.path).watch("/") as watch:
            await messages(watch, Connected)
        assert await watch.receive() is None
        assert [message async for message in watch.messages()] == []
