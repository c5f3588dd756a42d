"""Members of a cluster that cannot speak for it: cut off from their peers, or frozen; and those that can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.calls import RefusedError
from tests.etcd import Cluster, Etcd, reason_missing
from tests.reliability.peers import PeerProxy, between, isolate, reunite
from tests.store.model import contents
from tests.sync.harness import Mirrored, etcds_state, mirrored

HEARTBEAT = 1.0
ELECTION_SECONDS = 30.0
ASK_AGAIN_SECONDS = 0.05
T = TypeVar("T")


@dataclass
class Trio:
    """Three members that reach each other through proxies."""

    cluster: Cluster
    peers: list[PeerProxy]

    def isolate(self, member: Etcd) -> None:
        """Cut one off from the others; clients still reach it."""
        ids = [int(m.ask("/maintenance/status", {})["header"]["member_id"]) for m in self.cluster.members]
        isolate(self.cluster.members.index(member), self.peers, ids)

    def reunite(self) -> None:
        """All is well again."""
        reunite(self.peers)


@asynccontextmanager
async def trio(version: str) -> AsyncIterator[Trio]:
    """Run three members."""
    cluster = Cluster(version)
    with closing(cluster):
        async with between(cluster) as peers:
            await asyncio.to_thread(cluster.start)
            yield Trio(cluster, peers)


@pytest.fixture(params=["3.4.23", "3.5.30"])
async def three(request: pytest.FixtureRequest) -> AsyncIterator[Trio]:
    """A cluster of an old and of a recent version."""
    if reason := reason_missing(request.param):
        pytest.skip(f"NOT TESTED with etcd {request.param}: {reason}")
    async with trio(request.param) as held:
        yield held


async def _elected(call: Callable[..., T], *arguments: object) -> T:
    """What `call` returns, as soon as there is no election on its way: one is often followed by another.

    In a thread: the members need this event loop to reach each other.
    """
    deadline = time.monotonic() + ELECTION_SECONDS
    while True:
        try:
            return await asyncio.to_thread(call, *arguments)
        except RefusedError as error:
            if error.status != 503 or time.monotonic() > deadline:
                raise
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _write(member: Etcd, value: str) -> float:
    """Put a key through `member`; when that was done."""
    await _elected(member.put, "/a/1", value)
    return time.monotonic()


async def _agree(range_: Mirrored, member: Etcd) -> None:
    """Wait until the mirror is where etcd is now; it holds what etcd holds."""
    await range_.reaches(await _elected(member.revision))
    expected = await _elected(etcds_state, member, range_.store.keys, range_.store.revision)
    assert contents(range_.store) == range_.recorder.state == expected


async def test_a_member_that_lost_its_peers_proves_nothing(three: Trio) -> None:
    """It answers progress requests for seconds still; the others go on, so nothing may be called current."""
    leader = await _elected(three.cluster.leader)
    lone, other = (member for member in three.cluster.members if member is not leader)
    await _write(leader, "before")
    async with mirrored(lone.endpoint, heartbeat=HEARTBEAT, request=2.0) as range_:
        await range_.until_live()
        three.isolate(lone)
        written = await _write(other, "after")
        until = time.monotonic() + 4 * HEARTBEAT

        def overstated() -> bool:
            return range_.proved_at() > written

        await range_.until(lambda: overstated() or time.monotonic() > until)
        assert not overstated()
        assert range_.state == "stale"
        three.reunite()
        await _write(other, "reunited")
        await _agree(range_, other)
        await range_.until_live()
        assert range_.full_reads == {"initial": 1}


async def _watched(range_: Mirrored, cluster: Cluster) -> Etcd:
    """The member that the mirror watches."""
    await range_.until_live()
    url = range_.mirror.status().endpoint
    return next(member for member in cluster.members if member.endpoint == url)


@pytest.mark.parametrize("leads", [True, False], ids=["the leader", "a follower"])
async def test_a_member_that_lost_its_peers_is_left(three: Trio, leads: bool) -> None:
    """For one that has them, without a gap; and the one that is left is not asked again before it is well."""
    await _write(three.cluster.members[0], "before")
    leader = await _elected(three.cluster.leader)
    for seed in range(20):
        async with mirrored(*three.cluster.endpoints, heartbeat=HEARTBEAT, request=2.0, seed=seed) as range_:
            lone = await _watched(range_, three.cluster)
            if (lone is leader) is not leads:
                continue  # the seed decides who is asked first
            other = next(member for member in three.cluster.members if member is not lone)
            three.isolate(lone)
            await _write(other, "after")
            await _agree(range_, other)
            await range_.until_live()
            assert range_.mirror.status().endpoint != lone.endpoint
            assert not range_.gateway.endpoints.at(lone.endpoint).well
            three.reunite()
            assert range_.full_reads == {"initial": 1}
            return
    pytest.fail("no seed began where this test wanted it to")


async def test_a_frozen_member_is_left_within_two_heartbeats(three: Trio) -> None:
    """It neither answers nor hangs up."""
    await _write(three.cluster.members[0], "before")
    async with mirrored(*three.cluster.endpoints, heartbeat=HEARTBEAT, request=2.0) as range_:
        frozen = await _watched(range_, three.cluster)
        other = next(member for member in three.cluster.members if member is not frozen)
        await range_.next_proof()
        frozen.pause()
        began = time.monotonic()
        try:
            await range_.until(lambda: range_.reconnects)
            assert time.monotonic() - began <= 2 * HEARTBEAT
            await _write(other, "after")
            await _agree(range_, other)
            await range_.until_live()
            assert range_.mirror.status().endpoint != frozen.endpoint
        finally:
            frozen.resume()
        assert range_.full_reads == {"initial": 1}
