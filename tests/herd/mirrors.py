"""A herd of syncds, as etcd sees them: each has a gateway and a mirror of its own, and the usual settings."""

from __future__ import annotations

import asyncio
import random
import time

from syncd.config import Config, Etcd
from syncd.gateway import Gateway
from syncd.keyrange import KeyRange
from syncd.store import Store
from syncd.sync import Clocks, Mirror
from tests.herd.ledger import Ledger


class Member(Mirror):
    """A mirror that tells the ledger when it reads, and when it is live."""

    def __init__(self, number: int, gateway: Gateway, config: Config, ledger: Ledger) -> None:
        clocks = Clocks(asyncio.get_running_loop().time, time.time)
        history = config.history
        store = Store(config.ranges[0], history_events=history.events, history_bytes=history.bytes)
        super().__init__(store, gateway, config, clocks, random.Random(number))
        self._number = number
        self._ledger = ledger

    async def _read(self, reason: str) -> None:
        with self._ledger.full_read():
            await super()._read(reason)

    def _proved(self, at: float) -> None:
        super()._proved(at)
        if at > self._ledger.lost_at:  # not an answer that was under way then
            self._ledger.live(self._number)


async def mirror(number: int, url: str, keys: KeyRange, ledger: Ledger, members: list[Member]) -> None:
    """One syncd until it is cancelled; it adds itself to `members`."""
    config = Config(etcd=Etcd(endpoints=(url,)), ranges=(keys,))
    clock = asyncio.get_running_loop().time
    async with (
        Gateway(config.etcd, draw=random.Random(number), clock=clock) as gateway,
        asyncio.TaskGroup() as group,
    ):
        member = Member(number, gateway, config, ledger)
        members.append(member)
        group.create_task(gateway.probe(keys), name=f"probes of syncd {number}")
        group.create_task(member.run(), name=f"mirror of syncd {number}")
