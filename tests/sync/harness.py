"""A mirror of a real etcd, a reader that records what it is told, and the way to wait for something."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Literal

from syncd.config import Config, Etcd, History, Sync, Timeouts
from syncd.gateway import Gateway
from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Batch, Record
from syncd.store import Store
from syncd.sync import Clocks, Mirror
from tests.calls import Calls, RefusedError
from tests.store.model import Replica, State, contents

KEYS = prefix_range(b"/a/")
HEARTBEAT = 0.5
PATIENCE = 30.0
"""Seconds that anything may take: far more than it does, as these machines are shared."""
POLL = 0.005
"""Seconds between two looks at what the store doesn't tell of."""


class Recorder:
    """A local reader from the first moment on: keeps every batch, and a copy of the state made of them."""

    def __init__(self, store: Store) -> None:
        self.batches: list[Batch] = []
        self._store = store
        self._cursor = store.cursor(store.keys)
        self._replica: Replica | None = Replica(contents(store), store.keys) if store.ready else None
        self.stop = store.subscribe(self._told)

    def _told(self) -> None:
        if self._replica is None:
            # The first full read is no batch: it is where a reader begins.
            self._replica = Replica(contents(self._store), self._store.keys)
            self._cursor.read(1)
            return
        while batches := self._cursor.read(10):
            self._replica.follow(batches)
            self.batches += batches

    @property
    def state(self) -> State:
        """The reader's copy."""
        assert self._replica is not None
        return dict(sorted(self._replica.state.items()))

    @property
    def resyncs(self) -> list[Batch]:
        """The announced gaps."""
        return [batch for batch in self.batches if batch.resync]


class Mirrored:
    """A running mirror."""

    def __init__(self, mirror: Mirror, gateway: Gateway) -> None:
        self.mirror = mirror
        self.store = mirror.store
        self.gateway = gateway
        self.recorder = Recorder(mirror.store)
        self.running: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """The range's state, such as `live`."""
        return self.mirror.freshness()[0]

    @property
    def full_reads(self) -> dict[str, int]:
        """Full reads by reason."""
        return self.mirror.status().counters.full_reads

    @property
    def reconnects(self) -> dict[str, int]:
        """Ended streams by reason."""
        return self.mirror.status().counters.watch_reconnects

    def proved_at(self) -> float:
        """When the newest proof was asked for, by a clock of its own."""
        age = self.mirror.freshness()[1]
        return time.monotonic() - age if age is not None else -inf

    async def next_proof(self) -> None:
        """Return when there is a proof that was asked for only after now."""
        now = time.monotonic()
        await self.until(lambda: self.proved_at() > now)

    async def until(self, condition: Callable[[], object], timeout: float = PATIENCE) -> None:  # noqa: ASYNC109
        """Return when `condition` holds; looked at after every change of the store, and now and then."""
        changed = asyncio.Event()
        stop = self.store.subscribe(changed.set)
        deadline = time.monotonic() + timeout
        try:
            while not condition():
                assert time.monotonic() < deadline, f"waited in vain; {self.mirror.status()}"
                if self.running and self.running.done():
                    self.running.result()  # raises what no mirror should
                changed.clear()
                try:
                    async with asyncio.timeout(POLL):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            stop()

    async def until_live(self) -> None:
        """Return when the mirror is watching and proved current."""
        await self.until(lambda: self.state == "live")

    async def reaches(self, revision: int, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109
        """Return when the store is at `revision` or past it."""
        await self.until(lambda: self.store.revision >= revision, timeout)

    async def agrees_with(self, etcd: Calls) -> None:
        """Wait until the store is where etcd is now; then it, and the reader's copy, must be etcd's own."""
        await self.reaches(etcd.revision())
        self.is_right(etcd)

    def is_right(self, etcd: Calls) -> None:
        """Assert that the store, and the reader's copy, are what etcd has at the store's revision."""
        store = self.store
        expected = etcds_state(etcd, store.keys, store.revision)
        held = contents(store)
        assert held.keys() == expected.keys()  # first, as this is what a failure can show
        assert held == expected
        assert self.recorder.state == expected


def etcds_state(etcd: Calls, keys: KeyRange, revision: int = 0) -> State:
    """What etcd itself holds in `keys`, in key order; in pages that even 3.3 can send."""
    state: State = {}
    start, limit = keys.key, 10_000
    while True:
        try:
            answer = etcd.range(start, keys.range_end, revision=revision, limit=limit)
        except RefusedError as error:
            if "larger than max" not in error.text:
                raise
            limit //= 2
            continue
        state |= {kv.key: Record(*kv) for kv in answer.kvs}
        if answer.count == len(answer.kvs):
            return state
        start = answer.kvs[-1].key + b"\0"


@asynccontextmanager
async def mirrored(
    *endpoints: str,
    keys: KeyRange = KEYS,
    duplex: Literal["auto", "on", "off"] = "auto",
    heartbeat: float = HEARTBEAT,
    request: float = 10.0,
    page_bytes: int = 2 << 20,
    history: History | None = None,
    store: Store | None = None,
    kind: type[Gateway] = Gateway,
    guard: float | None = None,
    seed: int = 0,
) -> AsyncIterator[Mirrored]:
    """Run a mirror of `keys`; with `store`, one that goes on with what an earlier one held."""
    loop = asyncio.get_running_loop()
    config = Config(
        etcd=Etcd(
            endpoints=_slashless(endpoints),
            duplex=duplex,
            timeouts=Timeouts(connect=1.0, request=request, heartbeat=heartbeat),
        ),
        ranges=(keys,),
        sync=Sync(page_bytes=page_bytes),
        history=history or History(),
        guards={} if guard is None else {keys: guard},
    )
    draw = random.Random(seed)
    async with kind(config.etcd, draw=draw, clock=loop.time) as gateway:
        store = store or Store(keys, history_events=config.history.events, history_bytes=config.history.bytes)
        mirror = Mirror(store, gateway, config, Clocks(loop.time, time.time), draw)
        held = Mirrored(mirror, gateway)
        # No TaskGroup: it would wrap a failed assertion in an ExceptionGroup. `until` sees when this ends.
        held.running = asyncio.get_running_loop().create_task(mirror.run(), name=f"mirror of {keys.name}")
        try:
            yield held
        finally:
            held.running.cancel()
            with suppress(asyncio.CancelledError):
                await held.running
            held.recorder.stop()


def _slashless(endpoints: Sequence[str]) -> tuple[str, ...]:
    return tuple(endpoint.rstrip("/") for endpoint in endpoints)
