"""Faults of what etcd holds: its history compacted, its data restored or gone, its disk full."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from tests.etcd import Etcd
from tests.reliability.faults_network import let_through, refuse, slow_down
from tests.reliability.kinds import Faults, Part, kind
from tests.reliability.stage import ROOT, ROOT_PASSWORD, NotRecoveredError, Stage

READ_RATE = 48 << 10
"""Bytes a second at which a full read of a few hundred keys takes some seconds."""

CATCH_UP_RATE = 16 << 10
BEGIN_SECONDS = 3.0
"""For a full read to get under way."""


@asynccontextmanager
async def compacted_while_disconnected(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """All that the daemon misses is compacted away before it comes back."""
    refuse(stage)
    yield
    await stage.compact()
    let_through(stage)


@asynccontextmanager
async def compacted_in_full_read(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The revision that a new daemon reads is compacted away between two pages."""
    await stage.kill_daemon()
    slow_down(stage, READ_RATE)
    await stage.start_daemon()
    # On a machine so busy that this takes longer, the compaction comes a little too early to hurt.
    with suppress(NotRecoveredError):
        await stage.until(partial(_is_reading, stage), BEGIN_SECONDS)
    await stage.compact()
    yield
    let_through(stage)


@asynccontextmanager
async def compacted_in_catch_up(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """While the daemon catches up on a slow road, all that it has not seen yet is compacted away."""
    refuse(stage)
    yield
    let_through(stage)
    slow_down(stage, CATCH_UP_RATE)
    await asyncio.sleep(draw.uniform(0.2, 1.0))
    await stage.compact()
    let_through(stage)


@asynccontextmanager
async def defragmented(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """One member after the other stops serving to rewrite its database."""
    for index, member in enumerate(stage.cluster.members):
        if member.is_running:
            await stage.members.try_member(index, "/maintenance/defragment", {})
    yield


@asynccontextmanager
async def no_space(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Etcd raises NOSPACE, and refuses writes until somebody disarms that."""
    alarm = {"memberID": await stage.members.some_member_id(), "alarm": "NOSPACE"}
    await stage.members.insist("/maintenance/alarm", {"action": "ACTIVATE", **alarm})
    yield
    await stage.members.insist("/maintenance/alarm", {"action": "DEACTIVATE", **alarm})


@asynccontextmanager
async def restored(stage: Stage, draw: random.Random, *, new_cluster_id: bool) -> AsyncIterator[None]:
    """Etcd goes back to a snapshot of a moment ago: revisions fall, and what came after never was."""
    file = stage.daemon.directory / "snapshot"
    member = stage.cluster.members[0]
    user = f"--user={ROOT}:{ROOT_PASSWORD}"
    await asyncio.to_thread(member.etcdctl, user, "snapshot", "save", str(file))
    about = await asyncio.to_thread(member.etcdctl, "--write-out=json", "snapshot", "status", str(file))
    yield
    replace = partial(Etcd.restore, snapshot=file, new_cluster_id=new_cluster_id)
    await stage.begin_generation(json.loads(about)["revision"], replace)
    file.unlink()


@asynccontextmanager
async def wiped(stage: Stage, draw: random.Random, *, new_cluster_id: bool) -> AsyncIterator[None]:
    """Etcd loses everything, and begins anew at revision 1."""
    await wipe(stage, new_cluster_id=new_cluster_id)
    yield


async def wipe(stage: Stage, *, new_cluster_id: bool) -> None:
    """Begin with an empty etcd, of the version that the stage began with."""

    def replace(member: Etcd) -> None:
        member.wipe(new_cluster_id=new_cluster_id)
        member.version = stage.version

    await stage.begin_generation(0, replace, wiped=True)


async def _is_reading(stage: Stage) -> bool:
    status = await stage.status()
    syncing = status["ranges"][0]["syncing"] if status else None
    return bool(syncing and syncing["keys"])


ROAD_AND_DATA = (Part.ROAD, Part.DATA)

DATA: Faults = {
    kind("compacted while disconnected", *ROAD_AND_DATA): compacted_while_disconnected,
    kind("compacted in a full read", *ROAD_AND_DATA, Part.DAEMON, hold=(0.5, 2.0)): compacted_in_full_read,
    kind("compacted in catch-up", *ROAD_AND_DATA): compacted_in_catch_up,
    kind("defragmented", Part.DATA, hold=(0.0, 0.5)): defragmented,
    kind("no space", Part.DATA): no_space,
    kind("restored, same cluster id"): partial(restored, new_cluster_id=False),
    kind("restored, new cluster id"): partial(restored, new_cluster_id=True),
    kind("wiped, same cluster id", hold=(0.5, 2.0)): partial(wiped, new_cluster_id=False),
    kind("wiped, new cluster id", hold=(0.5, 2.0)): partial(wiped, new_cluster_id=True),
}
