"""One stream, followed: moments that no real etcd can be made to choose, on a stream of the test's own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import orjson

from syncd.config import Config, Etcd, Timeouts
from syncd.gateway import Gateway, Header, Page, Unavailable, WatchEvent, WatchResult
from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Record
from syncd.store import Store
from syncd.sync import Clocks, Mirror
from tests.until import until

KEYS = prefix_range(b"/a/")
URL = "http://etcd.example"
HELD = 5
HEARTBEAT = 0.6


class Stream:
    """Delivers what the test puts in."""

    url = URL

    def __init__(self, *, duplex: bool, synchronised: bool) -> None:
        self.duplex = duplex
        self.synchronised = synchronised
        self.complete = HELD
        self.silent = False
        self.unfinished = 0
        self.results: asyncio.Queue[WatchResult | Exception] = asyncio.Queue()
        self.results.put_nowait(WatchResult(Header(1, HELD, 2), created=True))

    def request_progress(self) -> None:
        """Answered at once, as a rule."""
        if self.silent:
            return
        self.results.put_nowait(WatchResult(Header(1, self.complete, 2)))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchResult:
        result = await self.results.get()
        if isinstance(result, Exception):
            raise result
        return result


@dataclass
class Road:
    """A gateway whose etcd is at `revision`, and says of the range what the test wants."""

    duplex: bool = True
    synchronised: bool = True
    revision_: int = HELD
    compared: Callable[[], None] = lambda: None
    """Called when etcd is asked whether the range, which is empty, has changed."""
    streams: list[Stream] = field(default_factory=list)
    road: float = 0.0

    async def revision(self, *_: object, **__: object) -> Header:
        """Where etcd is."""
        return Header(1, self.revision_, 2)

    async def sample(self, *_: object) -> Any:
        """Nothing is there, as in the store."""
        return SimpleNamespace(count=0, records={}, newer=False, header=Header(1, self.revision_, 2))

    async def changes(self, *_: object, **__: object) -> Page:
        """There is nothing."""
        self.compared()
        header = {"cluster_id": "1", "revision": str(self.revision_), "raft_term": "2"}
        return Page(URL, orjson.dumps({"header": header}))

    @asynccontextmanager
    async def watch(self, keys: KeyRange, revision: int) -> AsyncIterator[Stream]:
        """Another stream."""
        self.streams.append(Stream(duplex=self.duplex, synchronised=self.synchronised))
        yield self.streams[-1]

    def outdated(self, stream: Stream) -> bool:
        """It is home."""
        return False

    def elsewhere(self, url: str) -> bool:
        """There is no other."""
        return False

    async def pause(self, seconds: float) -> None:
        """Hurry."""
        await asyncio.sleep(min(seconds, 0.01))


@asynccontextmanager
async def mirrored(
    road: Road, now: Callable[[], float], heartbeat: float = HEARTBEAT
) -> AsyncIterator[tuple[Mirror, asyncio.Task[None]]]:
    """Run a mirror that holds an empty range at revision HELD."""
    etcd = Etcd(endpoints=(URL,), timeouts=Timeouts(connect=1, request=5, heartbeat=heartbeat))
    store = Store(KEYS, history_events=1000, history_bytes=1 << 20)
    rebuild = store.rebuild(HELD, "1-1")
    rebuild.end()
    while rebuild.step():
        pass
    store.commit(rebuild)
    config = Config(etcd=etcd, ranges=(KEYS,))
    mirror = Mirror(store, cast("Gateway", road), config, Clocks(now, time.time), random.Random(1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mirror.run(), name="mirror")
        yield mirror, task
        task.cancel()


async def test_a_frozen_process_wakes_up_to_a_farewell_and_goes_on() -> None:
    """The stream's end and the time for another one fall into one turn of the loop; the mirror goes on."""
    loop, offset = asyncio.get_running_loop(), 0.0
    road = Road()
    async with mirrored(road, lambda: loop.time() + offset) as (mirror, task):
        await until(lambda: mirror.freshness()[0] == "live")
        for turn in range(2, 12):
            road.streams[-1].results.put_nowait(Unavailable(URL, 14, "etcdserver: server stopped"))
            offset += 10 * HEARTBEAT
            mirror.hurry()
            await until(lambda turn=turn: len(road.streams) >= turn)  # type: ignore[misc]
            await until(lambda: mirror.freshness()[0] == "live")
        assert not task.done()


async def test_what_came_and_went_is_told_also_without_duplex() -> None:
    """The range is equal again when etcd is asked, but its events are on the road still."""
    key, loop = b"/a/lock", asyncio.get_running_loop()
    events = (
        WatchEvent(Record(key, b"x", HELD + 1, HELD + 1, 1)),
        WatchEvent(Record(key, mod_revision=HELD + 2), type="DELETE"),
    )
    road = Road(duplex=False, revision_=HELD + 4)

    def late() -> None:
        road.compared = lambda: None
        result = WatchResult(Header(1, HELD + 2, 2), events=events)
        loop.call_later(0.05, road.streams[-1].results.put_nowait, result)

    road.compared = late
    async with mirrored(road, loop.time) as (mirror, _):
        await until(lambda: mirror.store.revision == HELD + 4)
        await until(lambda: mirror.freshness()[0] == "live")
        told = [
            event.kv.mod_revision
            for batch in mirror.store.cursor(KEYS, HELD).read(9)
            for event in batch.events
        ]
        assert told == [HELD + 1, HELD + 2]
        assert not any(batch.resync for batch in mirror.store.cursor(KEYS, HELD).read(9))
        assert len(road.streams) == 1


async def test_a_large_document_on_a_slow_road_is_no_silence() -> None:
    """As long as bytes of it come, the stream lives; then it does not any more."""
    loop, road = asyncio.get_running_loop(), Road(revision_=HELD + 1)
    async with mirrored(road, loop.time) as (mirror, _):
        await until(lambda: road.streams)
        stream, began = road.streams[0], loop.time()
        stream.silent = True
        while loop.time() < began + 5 * HEARTBEAT:
            stream.unfinished += 100
            assert road.streams == [stream]
            await asyncio.sleep(HEARTBEAT / 10)
        assert "bytes of a document have come" in (mirror.status().error or "")
        await until(lambda: len(road.streams) > 1)
        assert loop.time() < began + 7 * HEARTBEAT


async def test_an_old_versions_candidate_is_asked_about_soon() -> None:
    """After a quiet second, not only when a heartbeat says so."""
    loop, road = asyncio.get_running_loop(), Road(synchronised=False, revision_=HELD + 1)
    async with mirrored(road, loop.time, heartbeat=120.0) as (mirror, _):
        await until(lambda: road.streams)
        road.streams[0].complete = HELD + 1
        await until(lambda: mirror.store.revision > HELD)
