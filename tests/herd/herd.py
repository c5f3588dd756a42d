"""A running herd, on a road of its own to etcd; and what an outage cost that etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Literal

import msgspec

from syncd.keyrange import prefix_range
from tests.etcd import Etcd
from tests.herd.ledger import Ledger, Road
from tests.herd.mirrors import Member, mirror
from tests.herd.naive import Naive

KEYS = prefix_range(b"/a/")
VALUE_BYTES = 200

PATIENCE = 300.0
"""Seconds until a herd must be live: far more than it takes, even where that is long."""

Kind = Literal["naive", "syncd"]


class Cost(msgspec.Struct, frozen=True):
    """What it took from the moment etcd was lost until all of a herd were live."""

    herd: Kind
    clients: int
    p50: float
    p99: float
    slowest: float
    """Seconds from etcd's return until so many of them were live."""
    at_a_time: int
    """Full reads under way at a time, at most."""
    full_reads: float
    connections: float
    requests: float
    bytes: float
    """Per client, on average; tries that found nothing are connections, heartbeats are requests."""
    etcd_memory: int
    """Bytes that etcd had in memory, at most, since it was started."""


class Herd:
    """Up to `size` clients of one kind."""

    def __init__(self, kind: Kind, size: int, etcd: Etcd, road: Road, group: asyncio.TaskGroup) -> None:
        self.kind: Kind = kind
        self.size = size
        self.etcd = etcd
        self.road = road
        self.ledger = Ledger()
        self.members: list[Member] = []
        """The mirrors; empty when the clients are naive."""
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, at_once: bool = False) -> None:
        """Start all, each when the one before has read, unless `at_once`; return when all are live."""
        for number in range(self.size):
            task = self._group.create_task(self._client(number), name=f"{self.kind} {number}")
            self._tasks.append(task)
            if not at_once:
                await self.ledger.until(lambda: self.ledger.read == len(self._tasks))
        await self.all_live()

    async def all_live(self) -> None:
        """Return when all are live."""
        async with asyncio.timeout(PATIENCE):
            await self.ledger.until(lambda: len(self.ledger.live_at) == self.size)

    def lose(self) -> None:
        """etcd is lost from now on; count anew."""
        self.ledger.lost()
        self.road.begin()

    def cost(self) -> Cost:
        """What it took until now."""
        ledger, road = self.ledger, self.road
        seconds = sorted(max(at - ledger.found_at, 0.0) for at in ledger.live_at.values())
        cuts = quantiles(seconds, n=100, method="inclusive")
        return Cost(
            herd=self.kind,
            clients=self.size,
            p50=cuts[49],
            p99=cuts[98],
            slowest=seconds[-1],
            at_a_time=ledger.most,
            full_reads=ledger.read / self.size,
            connections=road.connections / self.size,
            requests=road.requests / self.size,
            bytes=road.transferred / self.size,
            etcd_memory=_peak_memory(self.etcd.pid),
        )

    def end(self) -> None:
        """Cancel what runs."""
        for task in self._tasks:
            task.cancel()

    def _client(self, number: int) -> Coroutine[None, None, None]:
        if self.kind == "syncd":
            return mirror(number, self.road.url, KEYS, self.ledger, self.members)
        return Naive(number, self.road.url, KEYS.key, KEYS.range_end, self.ledger).run()


@asynccontextmanager
async def herd(kind: Kind, size: int, etcd: Etcd) -> AsyncIterator[Herd]:
    """A herd of up to `size` clients of `etcd`, none of which runs yet."""
    async with Road(etcd.port) as road, asyncio.TaskGroup() as group:
        held = Herd(kind, size, etcd, road, group)
        yield held
        held.end()


def fill(etcd: Etcd, keys: int) -> None:
    """Give etcd what the herds read."""
    etcd.load((f"/a/{number}", "x" * VALUE_BYTES) for number in range(keys))
    etcd.put("/a/0", "y" * VALUE_BYTES)  # a watch begins with the last revision held; let that be a small one


def _peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
