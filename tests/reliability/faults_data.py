"""Faults of what etcd holds: its history compacted, its data restored or gone, its disk full."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from tests.etcd import Etcd
from tests.reliability.faults_network import let_through, refuse, slow_down
from tests.reliability.kinds import Faults, MissedError, Part, kind
from tests.reliability.stage import NotRecoveredError, Stage
from tests.reliability.users import ROOT, ROOT_PASSWORD

READ_RATE = 48 << 10
"""Bytes a second at which a full read of a few hundred keys takes some seconds."""

MISSED_REVISIONS = 200
CATCH_UP_RATE = 10 << 10
"""Bytes a second at which so many revisions take some seconds, but to compare eight records does not."""

BEGIN_SECONDS = 6.0
"""For a full read, or a watch, to get under way, as there is back-off; and for so many revisions."""


@asynccontextmanager
async def compacted_while_disconnected(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """All that the daemon misses is compacted away before it comes back."""
    refuse(stage)
    yield
    compacted = await stage.compact()
    held = await _held(stage)
    let_through(stage)
    if held >= compacted:
        raise MissedError(f"the daemon holds {held}, and only what was before {compacted} is gone")


@asynccontextmanager
async def compacted_in_full_read(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """A new daemon must read anew, and the revision that it reads is compacted away between two pages."""
    await stage.kill_daemon()
    await stage.compact()
    slow_down(stage, READ_RATE)
    try:
        await stage.start_daemon()
        await _soon(stage, partial(_is_reading, stage), "the daemon had not read a page")
        await stage.compact()
        if not await _is_reading(stage):
            raise MissedError("all was read before the compaction was done")
        yield
    finally:
        let_through(stage)


@asynccontextmanager
async def compacted_in_catch_up(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """While the daemon catches up on a slow road, all that it has not seen yet is compacted away.

    What etcd had sent by then would still come, so the road is cut, too.
    """
    refuse(stage)
    held = await _held(stage)
    yield
    try:
        missing = held + MISSED_REVISIONS
        await _soon(stage, partial(_is_past, stage, missing), f"etcd had not come to revision {missing}")
        let_through(stage)
        slow_down(stage, CATCH_UP_RATE)
        await _soon(stage, partial(_is_watching, stage), "the daemon had not connected again")
        await stage.compact()
        if (held := await _held(stage)) >= missing:
            raise MissedError(f"the daemon holds {held} already, and missed what was until {missing}")
    finally:
        refuse(stage)
        let_through(stage)


@asynccontextmanager
async def defragmented(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """One member after the other stops serving to rewrite its database."""
    done = [
        await stage.members.try_member(index, "/maintenance/defragment", {})
        for index, member in enumerate(stage.cluster.members)
        if member.is_running
    ]
    yield
    if not any(done):
        raise MissedError("no member did it")


@asynccontextmanager
async def no_space(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Etcd's alarm NOSPACE is on, and etcd refuses writes until somebody disarms it.

    It is etcd's own alarm, but raised by us: no disk and no quota is full. A quota that can be filled within
    seconds would also be full after an hour of the writer's work.
    """
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


async def _soon(stage: Stage, condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Wait until it is so, but not for long; MissedError with these words when it isn't."""
    try:
        await stage.until(condition, BEGIN_SECONDS)
    except NotRecoveredError as error:
        raise MissedError(f"{otherwise} after {BEGIN_SECONDS:g} s") from error


async def _held(stage: Stage) -> int:
    """The daemon's revision; 0 when it doesn't answer, or holds nothing."""
    status = await stage.status()
    return int(status["ranges"][0]["revision"]) if status else 0


async def _is_past(stage: Stage, revision: int) -> bool:
    return await stage.members.revision() > revision


async def _is_watching(stage: Stage) -> bool:
    status = await stage.status()
    return bool(status and status["ranges"][0]["endpoint"])


async def _is_reading(stage: Stage) -> bool:
    status = await stage.status()
    syncing = status["ranges"][0]["syncing"] if status else None
    return bool(syncing and syncing["keys"])


MIRROR = (Part.ROAD, Part.DATA, Part.DAEMON)
"""What a daemon that is restarted meanwhile misses is another matter."""

DATA: Faults = {
    kind("compacted while disconnected", *MIRROR): compacted_while_disconnected,
    kind("compacted in a full read", *MIRROR, hold=(0.5, 2.0)): compacted_in_full_read,
    kind("compacted in catch-up", *MIRROR): compacted_in_catch_up,
    kind("defragmented", Part.DATA, hold=(0.0, 0.5)): defragmented,
    kind("no space", Part.DATA): no_space,
    kind("restored, same cluster id"): partial(restored, new_cluster_id=False),
    kind("restored, new cluster id"): partial(restored, new_cluster_id=True),
    kind("wiped, same cluster id", hold=(0.5, 2.0)): partial(wiped, new_cluster_id=False),
    kind("wiped, new cluster id", hold=(0.5, 2.0)): partial(wiped, new_cluster_id=True),
}
