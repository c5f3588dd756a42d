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

from syncd.config import Config, Etcd, Timeouts
from syncd.gateway import Gateway, Header, Unavailable, WatchResult
from syncd.keyrange import KeyRange, prefix_range
from syncd.sync import Clocks, Mirror

KEYS = prefix_range(b"/a/")
URL = "http://etcd.example"
HELD = 5
HEARTBEAT = 0.6
PATIENCE = 10.0


class Stream:
    """Delivers what the test puts in."""

    url = URL
    synchronised = True
    unfinished = 0

    def __init__(self, *, duplex: bool) -> None:
        self.duplex = duplex
        self.results: asyncio.Queue[WatchResult | Exception] = asyncio.Queue()
        self.results.put_nowait(WatchResult(Header(1, HELD, 2), created=True))

    def request_progress(self) -> None:
        """Answered at once."""
        self.results.put_nowait(WatchResult(Header(1, HELD, 2)))

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
    revision_: int = HELD
    page: Callable[[], Any] = lambda: None
    streams: list[Stream] = field(default_factory=list)
    road: float = 0.0

    async def revision(self, *_: object, **__: object) -> Header:
        """Where etcd is."""
        return Header(1, self.revision_, 2)

    async def sample(self, *_: object) -> Any:
        """Nothing is there, as in the store."""
        return SimpleNamespace(count=0, records={}, newer=False, header=Header(1, self.revision_, 2))

    async def changes(self, *_: object, **__: object) -> Any:
        """What the test has put there."""
        return self.page()

    @asynccontextmanager
    async def watch(self, keys: KeyRange, revision: int) -> AsyncIterator[Stream]:
        """Another stream."""
        self.streams.append(Stream(duplex=self.duplex))
        yield self.streams[-1]

    def homeward(self, url: str) -> bool:
        """It is home."""
        return False

    def elsewhere(self, url: str) -> bool:
        """There is no other."""
        return False

    async def pause(self, seconds: float) -> None:
        """Hurry."""
        await asyncio.sleep(min(seconds, 0.01))


@asynccontextmanager
async def mirrored(road: Road, now: Callable[[], float]) -> AsyncIterator[tuple[Mirror, asyncio.Task[None]]]:
    """Run a mirror that holds an empty range at revision HELD."""
    etcd = Etcd(endpoints=(URL,), timeouts=Timeouts(connect=1, request=5, heartbeat=HEARTBEAT))
    mirror = Mirror(
        KEYS,
        cast("Gateway", road),
        Config(etcd=etcd, ranges=(KEYS,)),
        Clocks(now, time.time),
        random.Random(1),
    )
    rebuild = mirror.store.rebuild(HELD, "1-1")
    rebuild.end()
    while rebuild.step():
        pass
    mirror.store.commit(rebuild)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mirror.run(), name="mirror")
        yield mirror, task
        task.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


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
