"""Sixty mirrors lose one etcd at the same instant; `tests/stampede` does the same with two hundred.

A crash costs no full read at all. After a compaction each must read once, but never more than a quarter of
the herd at a time: a read begins only when reading one key took less than 30 ms (syncd/sync/turns.py), that
is, while some three others are under way, and a few more begin before those are felt. Seen were 6 to 8 of 60,
and 18 to 22 of 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from syncd.gateway import Gateway, Header
from syncd.keyrange import KeyRange
from tests.etcd import Etcd
from tests.herd.herd import KEYS, Cost, Herd, fill, herd
from tests.herd.outages import Outage, crash, crash_and_compaction
from tests.store.model import contents
from tests.sync.harness import etcds_state, mirrored

CLIENTS = 60
RANGE = 3000
"""Keys, of 200 bytes each."""

SLOW = 0.5
"""Seconds for one answer: busy, even when it is the first; and no deadline is missed."""

REQUESTS_A_SECOND = 2.0
REQUESTS_AT_ALL = 50.0
"""What one may ask of etcd: heartbeats; and some 10 requests to be live again, 10 for a full read, 10 to wait
for its turn."""


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    """An etcd with one core, so that it gets scarce before the mirrors' own does."""
    with Etcd(environment={"GOMAXPROCS": "1"}) as server:
        fill(server, RANGE)
        yield server


async def _naive(etcd: Etcd, outage: Outage) -> Cost:
    """What the same outage costs with naive clients, which do all read at a time."""
    async with herd("naive", CLIENTS, etcd) as held:
        cost = await outage(held)
    assert cost.full_reads >= 1.0
    assert cost.at_a_time > CLIENTS / 2
    return cost


async def _is_right(held: Herd, reads: dict[str, int]) -> None:
    """Every mirror holds what etcd holds, and read as often as told."""
    expected = await asyncio.to_thread(etcds_state, held.etcd, KEYS)
    assert len(expected) == RANGE
    assert len(held.members) == CLIENTS
    for member in held.members:
        assert contents(member.store) == expected
        assert member.status().counters.full_reads == reads


async def test_a_busy_etcd_is_read_later(new_etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so while it waits, and reads when etcd answers quickly again."""
    new_etcd.put("/a/1", "1")
    ask, asked = Gateway.revision, 0

    async def busy_the_second_time(self: Gateway, keys: KeyRange) -> Header:
        nonlocal asked
        asked += 1
        if asked == 2:  # the first finds out who answers there, and takes its time
            new_etcd.pause()
            asyncio.get_running_loop().call_later(SLOW, new_etcd.resume)
        return await ask(self, keys)

    monkeypatch.setattr(Gateway, "revision", busy_the_second_time)
    async with mirrored(new_etcd.endpoint) as range_:
        await range_.until(lambda: "busy" in (range_.mirror.status().error or ""))
        monkeypatch.undo()
        assert range_.state == "cold"
        assert range_.full_reads == {}
        await range_.until_live()
        assert range_.mirror.status().error is None
        assert range_.full_reads == {"initial": 1}
        range_.is_right(new_etcd)


async def test_a_crash_costs_no_full_read(etcd: Etcd) -> None:
    """All are live again and right, for a hundredth of the bytes that naive clients read."""
    async with herd("syncd", CLIENTS, etcd) as held:
        cost = await crash(held)
        await _is_right(held, {"initial": 1})
    assert cost.at_a_time == 0
    assert cost.requests <= REQUESTS_AT_ALL + REQUESTS_A_SECOND * cost.slowest
    naive = await _naive(etcd, crash)
    assert cost.bytes < naive.bytes / 20
    assert cost.etcd_memory < naive.etcd_memory


async def test_after_a_compaction_the_herd_takes_turns(etcd: Etcd) -> None:
    """All read exactly once, few at a time, are live again and right; etcd needs less memory for that."""
    async with herd("syncd", CLIENTS, etcd) as held:
        cost = await crash_and_compaction(held)
        await _is_right(held, {"initial": 1, "compacted": 1})
    assert 0 < cost.at_a_time <= CLIENTS / 4
    assert cost.requests <= REQUESTS_AT_ALL + REQUESTS_A_SECOND * cost.slowest
    naive = await _naive(etcd, crash_and_compaction)
    assert cost.bytes < 1.2 * naive.bytes  # heartbeats, and asking whose turn it is
    assert cost.etcd_memory < naive.etcd_memory
