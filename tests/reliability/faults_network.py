"""Faults of the daemon's road to etcd: cut, swallowed, slow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.reliability.kinds import Faults, MissedError, Part, kind, watched
from tests.reliability.stage import HEARTBEAT, Stage

CUT_WITHIN = 20_000
"""Bytes within which a connection is cut: the writer makes that many in about half a second."""

NOTICED = (2.5 * HEARTBEAT, 4 * HEARTBEAT)
"""Within two heartbeats a hole must be noticed: so it lasts for longer."""

SLOW = 1 << 10
CUTS = (3, 8)
CUT_PAUSE = (0.05, 0.5)


@asynccontextmanager
async def cut_in_mid_line(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Whatever connection is used is reset after some more bytes, most likely in the middle of a document."""
    for proxy in stage.road:
        proxy.cut_after(draw.randint(1, CUT_WITHIN))
    yield
    cut = not all(proxy.is_to_cut for proxy in stage.road)
    let_through(stage)
    if not cut:
        raise MissedError("no road carried so much")


@asynccontextmanager
async def black_hole(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The road to the member that the daemon watches swallows everything."""
    stage.road[await watched(stage)].black_hole()
    yield
    let_through(stage)


@asynccontextmanager
async def black_holes(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The roads to all members swallow everything."""
    for proxy in stage.road:
        proxy.black_hole()
    yield
    let_through(stage)


@asynccontextmanager
async def slow_link(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Every road carries 1 KiB a second."""
    slow_down(stage, SLOW)
    yield
    let_through(stage)


@asynccontextmanager
async def flapping(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Several short cuts in a row, and some more after a while."""
    await _flap(stage, draw)
    yield
    await _flap(stage, draw)


def let_through(stage: Stage) -> None:
    """The daemon's road is as good as ever."""
    for proxy in stage.road:
        proxy.let_through()


def refuse(stage: Stage) -> None:
    """The daemon cannot reach any member."""
    for proxy in stage.road:
        proxy.refuse()


def slow_down(stage: Stage, rate: int) -> None:
    """Every connection carries no more than that many bytes a second."""
    for proxy in stage.road:
        proxy.slow_down(rate)


async def _flap(stage: Stage, draw: random.Random) -> None:
    for _ in range(draw.randint(*CUTS)):
        for proxy in stage.road:
            proxy.cut()
        await asyncio.sleep(draw.uniform(*CUT_PAUSE))


NETWORK: Faults = {
    kind("cut in mid-line", Part.ROAD): cut_in_mid_line,
    kind("black hole", Part.ROAD, hold=NOTICED): black_hole,
    kind("black holes everywhere", Part.ROAD, hold=NOTICED): black_holes,
    kind("slow link", Part.ROAD, hold=(2.0, 5.0)): slow_link,
    kind("flapping", Part.ROAD, hold=(0.0, 1.0)): flapping,
}
