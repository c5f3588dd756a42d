"""Faults of processes: members and the daemon killed, stopped, restarted, upgraded, alone; a wrong clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGHUP

from tests.calls import RefusedError
from tests.etcd import Etcd
from tests.reliability.faults_data import wipe
from tests.reliability.kinds import Faults, MissedError, Part, kind, watched
from tests.reliability.members import SilentError
from tests.reliability.peers import isolate, reunite
from tests.reliability.stage import HEARTBEAT, Stage

UPGRADED = "3.5.30"
"""What a cluster of 3.4 is upgraded to."""

CLOCK_SECONDS = 12 * 3600
"""How far the daemon's wall clock jumps, at most, forwards or backwards."""


@asynccontextmanager
async def member_killed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Any member ends at once, and comes back with its data."""
    async with _down(draw.choice(stage.cluster.members)):
        yield


@asynccontextmanager
async def leader_killed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The leader ends at once: the others have to elect another one."""
    async with _down(stage.cluster.members[await stage.members.leader()]):
        yield


@asynccontextmanager
async def all_members_killed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The whole cluster ends at once, as in a power cut."""
    for member in stage.cluster.members:
        member.kill()
    yield
    for member in stage.cluster.members:
        member.launch()
    await stage.ready()


@asynccontextmanager
async def member_paused(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The member that the daemon watches stands still, with all its connections open."""
    member = stage.cluster.members[await watched(stage)]
    member.pause()
    yield
    member.resume()


@asynccontextmanager
async def member_partitioned(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The member that the daemon watches loses its peers, but not its clients."""
    lone = await watched(stage)
    ids = [await stage.members.member_id(index) for index in range(len(stage.peers))]
    isolate(lone, stage.peers, ids)
    yield
    try:
        alone = "leader" not in await stage.members.status(lone)
    except (SilentError, RefusedError):  # so it answers nobody: it has lost them
        alone = True
    reunite(stage.peers)
    if not alone:
        raise MissedError("the member still has a leader")


@asynccontextmanager
async def members_restarted(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """One member after the other is restarted properly; afterwards no token is known any more."""
    yield
    await _restart_in_turn(stage, stage.cluster.members[0].version)


@asynccontextmanager
async def members_upgraded(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """One member after the other is restarted as a newer version; if they are that already, wiped before."""
    if stage.cluster.members[0].version == UPGRADED:
        await wipe(stage, new_cluster_id=True)
    yield
    await _restart_in_turn(stage, UPGRADED)


@asynccontextmanager
async def daemon_killed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon ends at once, and its readers' streams with it; a new one begins with its copy on disk."""
    await stage.kill_daemon()
    yield
    await stage.start_daemon()


@asynccontextmanager
async def daemon_reloaded(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon reads its configuration again, twice."""
    stage.daemon.signal(SIGHUP)
    yield
    stage.daemon.signal(SIGHUP)


@asynccontextmanager
async def clock_jumped(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon's wall clock jumps by hours, in one direction and then in the other.

    It reaches `time.time` alone: the names of epochs, and the times in the log.
    """
    forwards = draw.randrange(3600, CLOCK_SECONDS) * draw.choice((1, -1))
    stage.set_clock(forwards)
    yield
    stage.set_clock(forwards // -2)


@asynccontextmanager
async def _down(member: Etcd) -> AsyncIterator[None]:
    member.kill()
    yield
    member.launch()


async def _restart_in_turn(stage: Stage, version: str) -> None:
    for member in stage.cluster.members:
        await asyncio.to_thread(member.stop)
        member.version = version
        member.launch()
        await asyncio.to_thread(member.wait_until_ready)


PROCESSES: Faults = {
    kind("member killed", Part.MEMBERS): member_killed,
    kind("leader killed", Part.MEMBERS): leader_killed,
    kind("all members killed", Part.MEMBERS, Part.DATA, Part.USERS, hold=(0.2, 1.5)): all_members_killed,
    kind("member paused", Part.MEMBERS, hold=(HEARTBEAT + 0.5, HEARTBEAT + 2.5)): member_paused,
    # An election takes half a second, and as long passes before a member knows that it has no leader.
    kind("member partitioned", Part.MEMBERS, hold=(2.0, 4.0)): member_partitioned,
    # Not while the road swallows everything: etcd waits ten seconds for streams that don't end.
    kind(
        "members restarted", Part.MEMBERS, Part.ROAD, Part.DATA, Part.USERS, hold=(0.0, 0.5)
    ): members_restarted,
    kind("daemon killed", Part.DAEMON, hold=(0.0, 1.0)): daemon_killed,
    kind("daemon reloaded", Part.DAEMON, hold=(0.0, 1.0)): daemon_reloaded,
    kind("clock jumped", Part.CLOCK): clock_jumped,
}
UPGRADE: Faults = {kind("members upgraded", hold=(0.0, 0.5)): members_upgraded}
