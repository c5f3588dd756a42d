"""/v1/watch against a server in this process: what a reader gets, and when."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from time import CLOCK_BOOTTIME, clock_gettime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from syncd.keyrange import prefix_range
from syncd.serve import stream as stream_module
from syncd.serve import watch as watch_module
from syncd.serve.context import Context
from syncd.serve.encode import BatchLines, Selection
from syncd.serve.stream import Lines
from tests.serve.local import CutError, Stream, target, wait_until
from tests.serve.others import Other, needs_root, open_to_all
from tests.serve.stand import EPOCH, Kept, Stand, serving
from tests.until import until

Document = dict[str, Any]


def batches(documents: Iterator[Document], count: int) -> list[Document]:
    """The next `count` lines that are not progress."""
    return list(islice((line for line in documents if "progress" not in line), count))


def keys(line: Document) -> list[str]:
    """What happened in a batch, shortly: `+key` and `-key`."""
    return [f"{'+' if e['type'] == 'put' else '-'}{e['kv']['key']}" for e in line["events"]]


def small(*prefixes: bytes, history_events: int = 4) -> Kept:
    """A range below `/` at revision 10 with a history of hardly anything."""
    kept = Kept(prefix_range(b"/"), history_events)
    kept.fill({b"/a": b"1", b"/b": b"2", b"/c": b"3"}, 10)
    return kept


def test_headers_come_before_events(stand: Stand) -> None:
    """The answer begins at once, not with the first event."""
    with stand.stream("watch", prefix="/", heartbeat_ms=3_600_000) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "application/x-ndjson"
        assert stream.headers["Syncd-Revision"] == "10"
        stand.write((b"/a", b"x"))
        assert keys(next(stream.documents())) == ["+/a"]


def test_batches_are_atomic_and_ordered(stand: Stand) -> None:
    """All events of a revision in one line, revisions in order, each once."""
    with stand.stream("watch", prefix="/") as stream:
        for i in range(20):
            stand.write((b"/a", b"%d" % i), (b"/n%d" % i, b""), (b"/b", None) if i == 7 else (b"/c", b""))
        lines = batches(stream.documents(), 20)
        assert [line["revision"] for line in lines] == list(range(11, 31))
        assert [len(line["events"]) for line in lines] == [3] * 20
        assert keys(lines[7]) == ["+/a", "+/n7", "-/b"]


def test_from(stand: Stand) -> None:
    """The first batch is the first one after the revision; revision 10 is as old as it gets."""
    for i in range(5):
        stand.write((b"/a", b"%d" % i))
    for revision in (10, 12, 14):
        with stand.stream("watch", prefix="/", from_=revision, epoch=EPOCH) as stream:
            assert next(stream.documents())["revision"] == revision + 1
    answer = stand.get("watch", prefix="/", from_=9)
    assert (answer.status, answer.error["code"], answer.error["oldest_revision"]) == (410, "compacted", 10)
    stand.source.confirmed = False  # the reader's may be the newer one
    answer = stand.get("watch", prefix="/", from_=12, epoch="other")
    assert (answer.status, answer.error["code"]) == (503, "too_stale")
    stand.source.confirmed = True
    answer = stand.get("watch", prefix="/", from_=12, epoch="other")
    assert (answer.status, answer.error["code"], answer.error["oldest_revision"]) == (410, "compacted", 10)


def test_from_ahead_of_the_mirror(stand: Stand) -> None:
    """A reader that saw more, by its own write, waits until the mirror has it, and gets nothing twice."""

    def write() -> None:
        wait_until(lambda: stand.source.hurried, "the reader waits")
        for i in range(5):
            stand.write((b"/a", b"%d" % i))

    writing = threading.Thread(target=write)
    writing.start()
    with stand.stream("watch", prefix="/", from_=12, heartbeat_ms=100) as stream:
        revisions = [line["revision"] for line in islice(stream.documents(), 3)]
        assert revisions == [13, 14, 15]
    writing.join()


def test_from_ahead_of_an_etcd_that_was_restored(stand: Stand) -> None:
    """What never comes is not waited for: the reader is told to begin anew, not that all is well."""
    answer = stand.get("watch", prefix="/", from_=1000, wait_ms=50)
    assert (answer.status, answer.error["code"]) == (410, "compacted")
    assert answer.error["oldest_revision"] == 10


def test_far_behind_in_what_others_wrote(stand: Stand) -> None:
    """Thousands of batches that a reader did not ask for don't make it wait for its heartbeat."""
    for i in range(2000):
        stand.write((b"/other", b"%d" % i))
    stand.write((b"/mine", b""))
    with stand.stream("watch", key="/mine", from_=10, heartbeat_ms=3_600_000) as stream:
        stream.socket.settimeout(5)
        assert next(stream.documents())["revision"] == 2011


def test_progress_while_others_write(stand: Stand) -> None:
    """A reader whose keys are quiet gets its bookmark in time, however busy the rest is."""
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            stand.write((b"/other", b""))

    with stand.stream("watch", key="/mine", heartbeat_ms=100) as stream:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            lines = list(islice(stream.documents(), 3))
        finally:
            done.set()
            writer.join()
    assert all(line["progress"] for line in lines)
    assert 10 < lines[0]["revision"] < lines[1]["revision"] < lines[2]["revision"]


def test_progress(stand: Stand) -> None:
    """Where the reader is, how fresh that is, and when that was said by the clock that all here share."""
    with stand.stream("watch", prefix="/", heartbeat_ms=100) as stream:
        documents = stream.documents()
        before = 1000 * clock_gettime(CLOCK_BOOTTIME)
        first = next(documents)
        assert before - 1 <= first.pop("at_ms") <= 1000 * clock_gettime(CLOCK_BOOTTIME)
        assert first == {"revision": 10, "progress": True, "state": "live", "age_ms": 0}
        stand.source.state, stand.source.age = "stale", 1.5
        stand.on_loop(lambda: stand.source.store.advance(50))
        line = next(documents)
        while line["revision"] == 10:
            line = next(documents)
        del line["at_ms"]
        assert line == {"revision": 50, "progress": True, "state": "stale", "age_ms": 1500}


def test_progress_comes_in_the_midst_of_changes(stand: Stand) -> None:
    """Events say nothing of how fresh all is, however many there are."""
    with stand.stream("watch", prefix="/", heartbeat_ms=100) as stream:
        documents = stream.documents()
        written = told = 0
        while told < 3:
            revision = stand.write((b"/a", b"x"))
            written += 1
            line = next(documents)
            while "progress" in line:
                told += 1
                assert line["revision"] in (revision - 1, revision)
                line = next(documents)
            assert line["revision"] == revision
        assert written > 3


@pytest.mark.parametrize("heartbeat_ms", [0, 99, 3_600_001, "x"])
def test_heartbeat_bounds(stand: Stand, heartbeat_ms: object) -> None:
    """Neither a flood nor never."""
    answer = stand.get("watch", prefix="/", heartbeat_ms=heartbeat_ms)
    assert (answer.status, answer.error["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        ({"prefix": "/"}, [["+/a"], ["-/b", "+/x"], ["-/a"]]),
        ({"prefix": "/", "events": "put"}, [["+/a"], ["+/x"]]),
        ({"prefix": "/", "events": "delete"}, [["-/b"], ["-/a"]]),
        ({"key": "/a"}, [["+/a"], ["-/a"]]),
        ({"key": "/a", "events": "delete"}, [["-/a"]]),
        ({"prefix": "/x"}, [["+/x"]]),
        ({"prefix_b64": "L2I="}, [["-/b"]]),
    ],
)
def test_filters(stand: Stand, parameters: Document, seen: list[list[str]]) -> None:
    """A sub-prefix, a key, only puts, only deletions; batches of which nothing is left are not told."""
    stand.write((b"/a", b"x"))
    stand.write((b"/b", None), (b"/x", b""))
    stand.write((b"/a", None))
    with stand.stream("watch", from_=10, **parameters) as stream:
        assert [keys(line) for line in batches(stream.documents(), len(seen))] == seen


def test_prev_kv(stand: Stand) -> None:
    """What was there before, when asked for and when there was something."""
    stand.write((b"/a", b"x"), (b"/new", b""), (b"/b", None))
    with stand.stream("watch", prefix="/", from_=10, prev_kv=True) as stream:
        put, new, deletion = next(stream.documents())["events"]
        assert (put["prev_kv"]["value"], deletion["prev_kv"]["value"]) == ("1", "2")
        assert "prev_kv" not in new
    with stand.stream("watch", prefix="/", from_=10) as stream:
        assert all("prev_kv" not in event for event in next(stream.documents())["events"])


def test_snapshot_then_watch(stand: Stand) -> None:
    """First the snapshot with its end, then what comes after its revision."""
    with stand.stream("watch", prefix="/", snapshot=True) as stream:
        documents = stream.documents()
        head, *records, end = islice(documents, 5)
        assert (head["revision"], head["count"], end) == (10, 3, {"end": True, "count": 3})
        assert [record["key"] for record in records] == ["/a", "/b", "/c"]
        stand.write((b"/a", b"x"))
        assert next(documents)["revision"] == 11


@pytest.mark.parametrize(
    "query",
    [
        "from=10&snapshot=true",
        "epoch=e",
        "events=both",
        "from=-1",
        "snapshot=yes",
        "from=10&from=11",
        "last=1",
    ],
)
def test_bad_requests(stand: Stand, query: str) -> None:
    """What contradicts itself or isn't known is refused before anything begins."""
    answer = stand.ask(f"/v1/watch?prefix=/&{query}")
    assert (answer.status, answer.error["code"]) == (400, "bad_request")


def events(stream: Stream) -> Iterator[dict[str, str]]:
    """Server-sent events, read as browsers do."""
    fields: dict[str, str] = {}
    for line in stream.lines():
        if not line:
            yield fields
            fields = {}
            continue
        name, _, value = line.decode().partition(": ")
        assert name in ("id", "data")
        assert name not in fields
        fields[name] = value


def test_server_sent_events(stand: Stand) -> None:
    """Each line is the data of one event, whose id is where to resume; records of a snapshot have none."""
    accept = {"Accept": "text/event-stream"}
    with stand.stream("watch", accept, prefix="/", snapshot=True, heartbeat_ms=100) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        told = events(stream)
        snapshot = list(islice(told, 5))
        assert json.loads(snapshot[0]["data"])["count"] == 3
        assert json.loads(snapshot[4]["data"])["end"]
        assert all("id" not in event for event in snapshot)
        progress = next(told)
        assert (progress["id"], json.loads(progress["data"])["progress"]) == (f"{EPOCH}/10", True)
        stand.write(*[(b"/%d" % i, b"x\r\n\xe2\x80\xa8") for i in range(1200)])
        event = next(event for event in told if "progress" not in event["data"])
        assert event["id"] == f"{EPOCH}/11"
        assert len(json.loads(event["data"])["events"]) == 1200


def test_last_event_id(stand: Stand) -> None:
    """A browser that comes back goes on where it was; one from another epoch is told."""
    for i in range(3):
        stand.write((b"/a", b"%d" % i))
    accept = {"Accept": "text/event-stream"}
    with stand.stream("watch", accept | {"Last-Event-ID": f"{EPOCH}/12"}, prefix="/", from_=10) as stream:
        assert next(events(stream))["id"] == f"{EPOCH}/13"
    for seen in (12, 99):  # the snapshot makes it irrelevant, also one that is yet to come here
        with stand.stream(
            "watch", accept | {"Last-Event-ID": f"{EPOCH}/{seen}"}, prefix="/", snapshot=True, wait_ms=60_000
        ) as stream:
            assert json.loads(next(events(stream))["data"])["revision"] == 13
    assert stand.ask("/v1/watch?prefix=/", Last_Event_ID="other/12").error["code"] == "compacted"
    for bad in ("", "12", "/12", "e/", "e/x", "e/-1", "e/²", "e/" + "9" * 30):
        answer = stand.ask("/v1/watch?prefix=/", Last_Event_ID=bad)
        assert (answer.status, answer.error["code"]) == (400, "bad_request"), bad


def test_left_behind() -> None:
    """A reader that the history left behind gets the difference as a resync, and then goes on as usual."""
    with serving(small()) as stand, stand.stream("watch", key="/a", heartbeat_ms=100) as stream:
        stand.wait_for_readers(1)

        def much() -> None:  # in one step of the loop: no reader can keep up
            for i in range(20):
                stand.source.write((b"/a", b"%d" % i), (b"/b", b""))

        stand.on_loop(much)
        documents = stream.documents()
        [line] = batches(documents, 1)
        assert (line["revision"], line["resync"], line["epoch"]) == (30, True, EPOCH)
        assert keys(line) == ["+/a"]
        stand.write((b"/a", None))
        assert batches(documents, 1)[0]["revision"] == 31


def test_left_behind_for_good() -> None:
    """When not even the deleted keys are remembered, the stream says so and ends; it doesn't pretend."""
    with serving(small(history_events=2)) as stand, stand.stream("watch", prefix="/") as stream:
        stand.wait_for_readers(1)

        def much() -> None:
            for i in range(20):
                stand.source.write((b"/%d" % i, b""))
                stand.source.write((b"/%d" % i, None))

        stand.on_loop(much)
        [line] = stream.documents()
        assert stream.ended
        assert line["error"]["code"] == "compacted"
        assert line["error"]["oldest_revision"] == stand.source.store.history.oldest_revision
        stand.wait_for_readers(0)


class Blocked:
    """Lines to a reader who takes nothing, for a while, of what is written first."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.takes = asyncio.Event()

    async def begin_line(self, event_id: str | None = None) -> None:
        """Nothing stands before a line."""

    async def end_line(self) -> None:
        """Nor after it."""

    async def add(self, piece: bytes) -> None:
        """Keep it."""
        self.told.append(piece)

    async def line(self, line: bytes, event_id: str | None = None) -> None:
        """Keep it."""
        self.told.append(line)

    async def flush(self) -> None:
        """Wait for the reader, once."""
        await self.takes.wait()


async def test_progress_never_tells_an_older_revision_with_a_newer_age() -> None:
    """What happens while a slow reader holds up the last part of a resync is told first."""
    source = Kept(prefix_range(b"/"), history_events=1)
    source.fill({b"/a": b"1"}, 10)
    cursor = source.store.cursor(source.store.keys)
    for value in (b"2", b"3"):
        source.write((b"/a", value))
    assert cursor.behind
    lines, selection = Blocked(), Selection(source.store.keys)
    context = SimpleNamespace(clock=time.monotonic, closing=asyncio.Event(), batch_lines=BatchLines())
    watch = watch_module._Watch(
        cast("Context", context), source, cursor, selection, 0.01, cast("Lines", lines)
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watch.run(), name="watch")
        await until(lambda: lines.told)
        await asyncio.sleep(0.05)  # a progress line is due
        source.write((b"/a", b"4"))
        lines.takes.set()
        await until(lambda: any(b"progress" in line for line in lines.told))
        running.cancel()
    revisions = [json.loads(line)["revision"] for line in b"".join(lines.told).splitlines()]
    assert revisions[:3] == [12, 13, 13]


def test_a_new_epoch(stand: Stand) -> None:
    """Another etcd at a lower revision: the difference is told with its epoch, as a resync."""
    with stand.stream("watch", prefix="/") as stream:
        stand.wait_for_readers(1)
        stand.on_loop(lambda: stand.source.fill({b"/a": b"other", b"/d": b""}, 3, "f"))
        [line] = batches(stream.documents(), 1)
        assert (line["revision"], line["resync"], line["epoch"]) == (3, True, "f")
        assert sorted(keys(line)) == ["+/a", "+/d", "-/b", "-/c"]
    answer = stand.get("watch", prefix="/", from_=10, epoch=EPOCH)
    assert (answer.status, answer.error["oldest_revision"]) == (410, 3)


def test_snapshot_and_watch_under_writes(stand: Stand) -> None:
    """However writes fall beside it, snapshot and replay make the state: no gap, no overlap."""
    done = threading.Event()
    stand.write(*[(b"/k%04d" % i, b"x" * 100) for i in range(2000)])

    def write() -> None:
        i = 0
        while not done.is_set():
            i += 1
            stand.write(
                (b"/k%04d" % (i * 37 % 2000), b"%d" % i), (b"/k%04d" % ((i * 41 + 1) % 2000), b"%d" % i)
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            with stand.stream("watch", prefix="/", snapshot=True) as stream:
                documents = stream.documents()
                head = next(documents)
                state = {r["key"]: (r["value"], r["mod_revision"]) for r in islice(documents, head["count"])}
                assert next(documents)["end"]
                assert max(revision for _, revision in state.values()) == head["revision"]
                revisions = []
                for line in batches(documents, 20):
                    revisions.append(line["revision"])
                    for kv in (event["kv"] for event in line["events"]):
                        state[kv["key"]] = (kv["value"], kv["mod_revision"])
                assert revisions == list(range(head["revision"] + 1, head["revision"] + 21))
                view = stand.on_loop(lambda r=revisions[-1]: stand.source.store.past(r)())  # type: ignore[misc]
                for key, (value, revision) in state.items():
                    record = view.get(key.encode())
                    assert record is not None
                    assert (record.value.decode(), record.mod_revision) == (value, revision)
    finally:
        done.set()
        writer.join()


def test_who_does_not_read_is_closed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes nothing for a while is cut off; beside it, others are served without delay."""
    monkeypatch.setattr(stream_module, "STALLED", 0.3)
    with stand.stream("watch", prefix="/") as stalled, stand.stream("watch", prefix="/") as other:
        stand.wait_for_readers(2)
        documents = other.documents()
        for i in range(30):
            stand.write((b"/a", b"%d" % i + b"x" * 100_000))
            assert next(documents)["revision"] == 11 + i
        stand.wait_for_readers(1)
        with pytest.raises((CutError, ConnectionResetError)):
            list(stalled.documents())
        stand.write((b"/a", b""))
        assert next(documents)["revision"] == 41


def test_a_slow_reader_gets_everything(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it reads at all, however far behind, nothing is lost on it."""
    with stand.stream("watch", prefix="/") as stream:
        stand.wait_for_readers(1)
        for i in range(200):
            stand.write((b"/a", b"%d" % i + b"x" * 10_000))
        assert [line["revision"] for line in batches(stream.documents(), 200)] == list(range(11, 211))


def test_too_many_watches(stand: Stand, logged: list[Any]) -> None:
    """There is a limit, it is told, and the place of one who leaves is free."""
    stand.context.watches.limit = 6
    with ExitStack() as stack:
        streams = [stack.enter_context(stand.stream("watch", prefix="/")) for _ in range(3)]
        answer = stand.get("watch", prefix="/")
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        assert stand.get("value", key="/a").status == 200
        streams[0].close()
        stand.wait_for_readers(2)
        stack.enter_context(stand.stream("watch", prefix="/"))
    [told] = logged
    assert (told["event"], told["user"], told["open"]) == ("watches refused", os.getuid(), 3)
    logged.clear()


@needs_root
def test_another_user_finds_a_place(stand: Stand, logged: list[Any]) -> None:
    """However many watches somebody else has."""
    stand.context.watches.limit = 4
    open_to_all(stand.socket)
    with ExitStack() as stack:
        for status in (200, 200, 503):
            assert stack.enter_context(stand.stream("watch", prefix="/")).status == status
        assert stack.enter_context(Other(12345).stream(stand.socket, "/v1/watch?prefix=/")).status == 200
        assert stack.enter_context(Other(12345).stream(stand.socket, "/v1/watch?prefix=/")).status == 503
    assert [line["event"] for line in logged] == ["watches refused"]
    logged.clear()


def test_readers_come_and_go(stand: Stand) -> None:
    """Readers that vanish at any moment leave nothing behind, and nothing in the log."""
    for i in range(100):
        stream = Stream(stand.socket, target("watch", prefix="/", snapshot=i % 2 == 0, from_="") if i % 3 else
                        target("watch", prefix="/", snapshot=True))  # fmt: skip
        if i % 5:
            next(stream.lines(), None)
        stand.write((b"/a", b"x" * 10_000))
        stream.close()
    stand.wait_for_readers(0)
    assert stand.on_loop(lambda: len(stand.source.store._listeners)) == 0


def test_an_accident_in_a_stream_cuts_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, logged: list[Document]
) -> None:
    """Half an answer must not look like a whole one; the log tells what it was."""
    stand.write(*[(b"/k%04d" % i, b"x" * 1000) for i in range(2000)])

    def fails(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(stand.context.block_lines, "of", fails)
    with stand.stream("snapshot", prefix="/") as stream, pytest.raises((CutError, ConnectionResetError)):
        list(stream.chunks())
    wait_until(lambda: logged)
    [line] = logged
    assert line["event"] == "a request failed"
    logged.clear()


def test_an_accident_before_an_answer(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, logged: list[Document]
) -> None:
    """The reader is told that it is not its fault, as JSON and with all headers."""
    monkeypatch.setattr(stand.source.store, "get", None)
    answer = stand.get("value", key="/a")
    assert (answer.status, answer.error["code"], answer.revision) == (500, "internal", 10)
    logged.clear()


def test_the_server_stops(stand: Stand) -> None:
    """Every stream gets what there is, a last progress line, and its proper end."""
    with stand.stream("watch", prefix="/") as stream:
        stand.wait_for_readers(1)

        def last() -> None:
            stand.source.write((b"/a", b"last"))
            stand._closed.set()

        stand.on_loop(last)
        *_, batch, progress = stream.documents()
        assert stream.ended
        assert keys(batch) == ["+/a"]
        assert (progress["revision"], progress["progress"], progress["state"]) == (11, True, "live")
