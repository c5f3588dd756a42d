"""When a daemon is killed: each kind of moment is brought about, and a random instant of it is waited for.

The daemon runs, and all is well, when a moment begins. It may be ended in its own time, and another started.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from signal import SIGTERM

from tests.cache.kills_stage import Stage
from tests.cache.kills_witness import Phase

LOST_WRITES = (1, 60)
"""What the daemon does not see before it is compacted."""

START_SECONDS = 1.0
"""In which a daemon has started, and is live."""

STOP_SECONDS = 0.15
"""What it takes to stop: to end what readers are told, and to write what is not on the disk yet."""

Ended = Callable[[], Awaitable[None]]
"""End the daemon in its own time, and look at what it leaves."""


@dataclass(frozen=True, slots=True)
class Moment:
    """`forgets`: etcd, or the disk, no longer has what the daemon would go on from."""

    name: str
    come: Callable[[Stage, Ended], Awaitable[None]]
    phase: Phase | None = None
    """What the daemon should be at then; None: it should just be there."""
    forgets: bool = False
    times: int = 1
    """How often it is in a deck."""


async def _first_read(stage: Stage, ended: Ended) -> None:
    await ended()
    stage.empty()
    stage.launch()
    await stage.aim(Phase.READING)


async def _first_file(stage: Stage, ended: Ended) -> None:
    await ended()
    stage.empty()
    stage.launch()
    await stage.aim(Phase.MAKING)


async def _new_file(stage: Stage, ended: Ended) -> None:
    await ended()
    stage.launch()
    await stage.aim(Phase.MAKING)


async def _commit(stage: Stage, _: Ended) -> None:
    await stage.aim_well(Phase.COMMITTING)


async def _sweep(stage: Stage, _: Ended) -> None:
    await stage.aim_well(Phase.SWEEPING)


async def _compacted_while_down(stage: Stage, ended: Ended) -> None:
    await ended()
    await stage.load.compact(stage.draw.randint(*LOST_WRITES))
    stage.launch()
    await stage.aim(Phase.REREADING)


async def _compacted_while_cut_off(stage: Stage, _: Ended) -> None:
    stage.proxy.refuse()
    await stage.load.compact(stage.draw.randint(*LOST_WRITES))
    stage.proxy.let_through()
    await stage.aim(Phase.REREADING)


async def _wiped_while_down(stage: Stage, ended: Ended) -> None:
    await ended()
    await stage.load.begin_anew()
    stage.launch()
    await stage.aim(Phase.REREADING)


async def _wiped_while_cut_off(stage: Stage, _: Ended) -> None:
    stage.proxy.refuse()
    await stage.load.begin_anew()
    stage.proxy.let_through()
    await stage.aim(Phase.REREADING)


async def _stop(stage: Stage, _: Ended) -> None:
    stage.daemon.signal(SIGTERM)
    await asyncio.sleep(stage.draw.uniform(0, STOP_SECONDS))


async def _start(stage: Stage, ended: Ended) -> None:
    await ended()
    stage.launch()
    await asyncio.sleep(stage.draw.uniform(0, START_SECONDS))


MOMENTS = (
    Moment("first full read", _first_read, Phase.READING, forgets=True),
    Moment("first file", _first_file, Phase.MAKING, forgets=True),
    Moment("new file", _new_file, Phase.MAKING),
    Moment("commit", _commit, Phase.COMMITTING, times=2),
    Moment("sweep", _sweep, Phase.SWEEPING, times=2),
    Moment("re-read, compacted while down", _compacted_while_down, Phase.REREADING, forgets=True),
    Moment("re-read, compacted while cut off", _compacted_while_cut_off, Phase.REREADING, forgets=True),
    Moment("re-read, wiped while down", _wiped_while_down, Phase.REREADING, forgets=True),
    Moment("re-read, wiped while cut off", _wiped_while_cut_off, Phase.REREADING, forgets=True),
    Moment("stop", _stop),
    Moment("start", _start),
)


DECK = sum(moment.times for moment in MOMENTS)


def deck(draw: random.Random) -> list[Moment]:
    """All of them, DECK in number, in random order."""
    return draw.sample(MOMENTS, DECK, counts=[moment.times for moment in MOMENTS])
