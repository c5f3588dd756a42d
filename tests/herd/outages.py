"""What happens to a herd: each takes one that doesn't run yet, and tells what it cost until all were live.

The clients of a herd that is to lose etcd are started one after the other, so that each knows what a full
read costs when it is alone: that is when they would come back closest together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping

from tests.etcd import Etcd
from tests.herd.herd import Cost, Herd

Outage = Callable[[Herd], Coroutine[None, None, Cost]]

AWAY = 3.0
"""Seconds that etcd is away after a crash."""

CHANGED = 100
"""Keys written during an outage with a compaction."""


async def start(herd: Herd) -> Cost:
    """All clients are started at the same instant."""
    herd.lose()
    herd.ledger.found()
    await herd.start(at_once=True)
    return herd.cost()


async def crash(herd: Herd) -> Cost:
    """Etcd is killed and started again, while all knock at its port."""
    await herd.start()
    herd.lose()
    herd.etcd.kill()
    await asyncio.sleep(AWAY)  # waits for nothing: it is the outage
    herd.etcd.launch()
    herd.ledger.found()
    await asyncio.to_thread(herd.etcd.wait_until_ready)
    await herd.all_live()
    return herd.cost()


async def crash_and_compaction(herd: Herd) -> Cost:
    """Etcd is killed, started, written to, and what the herd saw is compacted, before anybody can reach it.

    All that as fast as can be: after a short outage back-offs are short, and the herd comes back together.
    """
    await herd.start()
    herd.lose()
    herd.road.refuse()
    herd.etcd.kill()
    herd.etcd.launch()
    await asyncio.to_thread(_change, herd.etcd)
    herd.ledger.found()
    herd.road.let_through()
    await herd.all_live()
    return herd.cost()


OUTAGES: Mapping[str, Outage] = {
    "start": start,
    "crash": crash,
    "crash and compaction": crash_and_compaction,
}


def _change(etcd: Etcd) -> None:
    etcd.wait_until_ready()
    etcd.compact(etcd.txn_put([(f"/a/{number}", "changed") for number in range(CHANGED)], ops=1))
