"""Each fault does what its name says, to a real cluster and daemon; and afterwards all is well again."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from tests.calls import RefusedError
from tests.etcd import reason_missing
from tests.reliability.conftest import staged
from tests.reliability.faults import FAULTS, faults_for
from tests.reliability.faults_processes import UPGRADED
from tests.reliability.faults_users import EXPIRED
from tests.reliability.kinds import watched
from tests.reliability.members import SilentError, b64
from tests.reliability.stage import Stage

PATIENCE = 30.0
KEY = {"key": b64(b"/o/1")}


@pytest.fixture
def new_version() -> str:
    """One version, for what doesn't depend on it."""
    if reason := reason_missing(UPGRADED):
        pytest.skip(f"NOT TESTED with etcd {UPGRADED}: {reason}")
    return UPGRADED


@asynccontextmanager
async def happening(stage: Stage, name: str, seed: int = 1) -> AsyncIterator[None]:
    """The fault of that name holds."""
    [fault] = [fault for kind, fault in FAULTS.items() if kind.name == name]
    async with fault(stage, random.Random(seed)):
        yield


async def soon(condition: Callable[[], Awaitable[object]]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.05)


async def state(stage: Stage) -> str:
    """The daemon's, such as `live`; '' when it doesn't answer."""
    status = await stage.status()
    return str(status["ranges"][0]["state"]) if status else ""


async def is_stale(stage: Stage) -> bool:
    """Whether the daemon knows that it may be behind."""
    return await state(stage) == "stale"


async def serves(stage: Stage, index: int, *, serializable: bool = False) -> bool:
    """Whether that member answers a read."""
    try:
        await stage.members.ask_member(index, "/kv/range", {**KEY, "serializable": serializable})
    except (SilentError, RefusedError):
        return False
    return True


async def reconnects(stage: Stage) -> int:
    """How often the daemon lost its watch."""
    await stage.status()
    return sum(stage.lives.total("watch_reconnects").values())


async def test_processes(guarded_version: str) -> None:
    """Members die and stand still, and the rest goes on; or nothing does."""
    async with staged(guarded_version) as (stage, _):
        async with happening(stage, "member killed"):
            assert [member.is_running for member in stage.cluster.members].count(False) == 1
            await stage.members.insist("/kv/put", KEY)
        await stage.ready()
        led = await stage.members.leader()
        async with happening(stage, "leader killed"):
            assert not stage.cluster.members[led].is_running
            assert await stage.members.leader() != led
        await stage.ready()
        await stage.recovered()
        stopped = await watched(stage)
        async with happening(stage, "member paused"):
            assert not await serves(stage, stopped)
            await stage.members.insist("/kv/put", KEY)
            await soon(lambda: _differs(stage.watched(), stopped))
        await stage.recovered()
        async with happening(stage, "all members killed"):
            assert not any([await serves(stage, index) for index in range(3)])
            await soon(lambda: is_stale(stage))
        await stage.recovered()
        async with happening(stage, "members restarted"):
            pids = {member.pid for member in stage.cluster.members}
        assert not pids & {member.pid for member in stage.cluster.members}
        await stage.recovered()


async def test_a_partitioned_member(guarded_version: str) -> None:
    """It has no leader, answers what needs none, and the others go on; then it is one of them again."""
    async with staged(guarded_version) as (stage, _):
        lone = await watched(stage)
        assert await serves(stage, lone)  # and we have a token: it cannot give one later
        async with happening(stage, "member partitioned"):
            others = [index for index in range(3) if index != lone]

            async def alone() -> bool:
                return "leader" not in await stage.members.status(lone)

            await soon(alone)
            assert await serves(stage, lone, serializable=True)
            assert not await serves(stage, lone)
            await stage.members.insist("/kv/put", KEY)
            for index in others:
                assert await serves(stage, index)
            assert (await stage.members.status(others[0]))["leader"] == (
                await stage.members.status(others[1])
            )["leader"]
            assert "leader" not in await stage.members.status(lone)
        await soon(lambda: serves(stage, lone))
        await stage.recovered()


async def test_the_daemon(guarded_version: str) -> None:
    """It dies and comes back as another process; its token runs out; it reloads; its wall clock is wrong."""
    async with staged(guarded_version) as (stage, _):
        before = stage.daemon.pid
        async with happening(stage, "daemon killed"):
            assert await state(stage) == ""
        assert stage.daemon.pid != before
        await stage.recovered()
        async with happening(stage, "auth token expired"):
            replaced = sum(road.replaced for road in stage.road)
            await asyncio.sleep(EXPIRED[0])  # it is time itself that has to pass
        assert sum(road.replaced for road in stage.road) > replaced
        await stage.recovered()
        async with happening(stage, "daemon reloaded"):
            await soon(lambda: asyncio.to_thread(stage.daemon.log, "reloaded"))
        async with happening(stage, "clock jumped"):
            first = await wrong_by(stage)
        second = await wrong_by(stage)
        assert min(abs(first), abs(second)) > 1000
        assert first * second < 0  # one forwards, one backwards


async def wrong_by(stage: Stage) -> float:
    """How far a new daemon's wall clock is off: what it reads, without a copy, it names after the time."""
    await stage.kill_daemon()
    shutil.rmtree(stage.cache)
    await stage.start_daemon()
    await stage.recovered()
    epoch: str = stage.daemon.range_status()["epoch"]
    return int(epoch.rpartition("-")[2], 16) / 1000 - time.time()


async def test_the_road(guarded_version: str) -> None:
    """Cut in the middle, swallowed, slow, cut again and again: each time the daemon has to begin anew."""
    async with staged(guarded_version) as (stage, _):
        for name in ("cut in mid-line", "black hole", "black holes everywhere", "slow link"):
            before, road = await reconnects(stage), stage.road[await watched(stage)]
            async with happening(stage, name):
                passed, began = road.bytes_down, time.monotonic()

                async def reconnected(before: int = before) -> bool:
                    return await reconnects(stage) > before

                await soon(reconnected)
                if name == "slow link":
                    rate = (road.bytes_down - passed) / (time.monotonic() - began)
                    assert rate < 4 * 1024, rate  # a few connections with 1 KiB/s each
                if name.startswith("black hole"):
                    assert road.bytes_down == passed
            await stage.recovered()
        accepted = sum(proxy.connections for proxy in stage.road)
        async with happening(stage, "flapping"):
            assert sum(proxy.connections for proxy in stage.road) > accepted
        await stage.recovered()


async def test_data(guarded_version: str) -> None:
    """The history that the daemon would need is gone, so it reads all anew; etcd has no room for a while."""
    async with staged(guarded_version) as (stage, told):
        async with happening(stage, "compacted while disconnected"):
            missed = await stage.members.revision()
            await soon(lambda: _past(stage, missed + 10))
        await stage.recovered()
        assert told.asked_for[-1] > missed
        assert stage.lives.total("full_reads")["compacted"] == 1
        with pytest.raises(RefusedError, match="has been compacted"):
            await stage.members.ask("/kv/range", {**KEY, "revision": missed})
        async with happening(stage, "compacted in a full read"):
            assert await state(stage) == "stale"
        await stage.recovered()
        before = stage.lives.total("full_reads")["compacted"]
        async with happening(stage, "compacted in catch-up"):
            await soon(lambda: is_stale(stage))
        await stage.recovered()
        assert len(told.asked_for) == 4
        assert stage.lives.total("full_reads")["compacted"] > before
        async with happening(stage, "defragmented"):
            pass
        await stage.recovered()
        # Writes are refused while the alarm is on, and not after.
        async with happening(stage, "no space"):
            with pytest.raises(RefusedError, match="database space exceeded"):
                await stage.members.ask("/kv/put", KEY)
        await stage.members.ask("/kv/put", KEY)
        await stage.recovered()


@pytest.mark.parametrize("how", ["restored", "wiped"])
async def test_data_lost(new_version: str, how: str) -> None:
    """Revisions fall to what was saved, or to nothing; the cluster's id is the same or another, as named."""
    async with staged(new_version) as (stage, told):
        for same in (True, False):
            cluster = await cluster_id(stage)
            async with AsyncExitStack() as stack:
                begun = told.generation
                await stack.enter_async_context(
                    happening(stage, f"{how}, {'same' if same else 'new'} cluster id")
                )
                if how == "restored":
                    assert told.generation == begun
                    saved = await stage.members.revision()
                    await soon(partial(_past, stage, saved + 50))
            assert told.generation == begun + 1
            first = next(r for number, r, _ in told.acknowledgements if number == told.generation)
            assert told.asked_for[-1] > first > told.since[-1]
            assert (await cluster_id(stage) == cluster) is same


async def cluster_id(stage: Stage) -> str:
    """How the cluster calls itself."""
    return str((await stage.members.insist("/kv/range", KEY))["header"]["cluster_id"])


async def _differs(found: Awaitable[object], before: object) -> bool:
    return await found != before


async def _past(stage: Stage, revision: int) -> bool:
    return await stage.members.revision() > revision


async def test_users(new_version: str) -> None:
    """A new password and a role taken away keep the daemon out until they are mended."""
    async with staged(new_version) as (stage, _):
        for name, error in (
            ("password changed", "refuses the password"),
            ("role revoked", "permission denied"),
        ):
            async with happening(stage, name):

                async def refused(error: str = error) -> bool:
                    status = await stage.status()
                    return error in str(status and status["ranges"][0]["error"])

                await soon(refused)
            await stage.recovered()


async def test_upgrade() -> None:
    """All members are another version afterwards, with the same data; a wipe takes them back."""
    if reason := reason_missing("3.4.23") or reason_missing(UPGRADED):
        pytest.skip(f"NOT TESTED: {reason}")
    async with staged("3.4.23") as (stage, told):
        for generation in range(2):
            async with happening(stage, "members upgraded"):
                assert {(await stage.members.status(index))["version"] for index in range(3)} == {"3.4.23"}
            assert {(await stage.members.status(index))["version"] for index in range(3)} == {UPGRADED}
            await stage.recovered()
            assert told.generation == generation


def test_only_an_old_cluster_is_upgraded() -> None:
    """And all other kinds befall every version, with TLS or without."""
    befall = {*faults_for(UPGRADED), *faults_for(UPGRADED, tls=True)}
    assert {kind.name for kind in FAULTS.keys() - befall} == {"members upgraded"}
