"""A stage without a judge, for tests of the stage and its faults alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.etcd import reason_missing
from tests.reliability.guarded import GuardedCluster
from tests.reliability.stage import Stage

VERSIONS = ("3.4.23", "3.5.30")


class Unjudged:
    """Stands for the history and for the judge: remembers what it is told, and never makes anybody wait."""

    def __init__(self) -> None:
        self.since = [0]
        self.acknowledgements: list[tuple[int, int, float]] = []
        """Generation, revision and time."""
        self.asked_for: list[int] = []

    @property
    def generation(self) -> int:
        """The current one."""
        return len(self.since) - 1

    def begin(self, since: int) -> int:
        """Begin the next one."""
        self.since.append(since)
        return self.generation

    def acknowledged(self, revision: int, at: float) -> None:
        """A write was."""
        self.acknowledgements.append((self.generation, revision, at))

    async def caught_up(self, revision: int) -> None:
        """All that is to be lost is known."""
        self.asked_for.append(revision)

    async def compare_with_etcd(self) -> int:
        """Nothing is known, so nothing is compared."""
        return 0


@pytest.fixture(params=VERSIONS)
def guarded_version(request: pytest.FixtureRequest) -> str:
    """An old etcd and a new one; one that cannot be had is skipped, and the summary names it."""
    version: str = request.param
    if reason := reason_missing(version):
        pytest.skip(f"NOT TESTED with etcd {version}: {reason}")
    return version


@asynccontextmanager
async def staged(
    version: str, *, writing: bool = True, tls: bool = False
) -> AsyncIterator[tuple[Stage, Unjudged]]:
    """A stage, with its writer at work, and what it told about that."""
    told = Unjudged()
    stage = Stage(GuardedCluster(version, tls=tls), told, told, random.Random(1))
    async with stage, asyncio.TaskGroup() as group:
        writer = group.create_task(stage.writer.run(), name="writer") if writing else None
        await stage.recovered()
        yield stage, told
        if writer:
            writer.cancel()
