"""Where it plays: an etcd under load, a daemon with a cache whose only road to it is a proxy, and a reader.

    async with stage(random.Random(1)) as held:
        held.launch()
        await held.live()
        await held.aim_well(Phase.COMMITTING)
        await held.end()

One thread does it all, as a process that reads a cache must have no other.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from time import monotonic, sleep
from typing import Any

import orjson

from tests.cache.kills_court import Court
from tests.cache.kills_daemon import MODULE
from tests.cache.kills_load import PREFIX, Load
from tests.cache.kills_reader import Reader
from tests.cache.kills_witness import VARIABLE, Phase, Witness
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.reliability.members import Members
from tests.reliability.told import Lines, Snapshot
from tests.reliability.wire import Connection, Peer, target
from tests.until import until

PAGE_BYTES = "64KiB"
"""A full read is many pages, and takes a while."""

LOOK = 0.0002
"""Seconds between two looks at what the daemon is at; what it is to be killed in may take a millisecond."""

ASK_AGAIN = 0.005
"""Seconds between two questions to the daemon."""

PRECISE = 0.01
"""Seconds that are waited for without anything else being done meanwhile: the event loop rounds them up."""

SPREAD = 4.0
"""Times that a commit may take longer than the shortest."""

AIMS = 20
HIT_WITHIN = 5.0
"""Seconds within which what a daemon is to be killed in should have begun."""


class Stage:
    """One etcd, one daemon after the other."""

    def __init__(
        self, load: Load, proxy: Proxy, daemon: Daemon, witness: Witness, draw: random.Random
    ) -> None:
        self.load = load
        self.proxy = proxy
        self.daemon = daemon
        self.witness = witness
        self.draw = draw
        self.court = Court(load.history)
        self.reader = Reader(daemon.socket, load, self.court)
        self.cache = cache_of(daemon)
        self.emptied = False
        """Whether what was on disk is gone, since somebody has set this back."""
        self.starts = 0
        self.launched = 0.0
        """When the last daemon was, by time.monotonic()."""

    def empty(self) -> None:
        """Remove what is on disk, while there is no daemon."""
        shutil.rmtree(self.cache)
        self.emptied = True

    def launch(self) -> None:
        """Start the daemon, without waiting for anything."""
        self.witness.forget()
        self.launched = monotonic()
        self.daemon.launch()
        self.starts += 1

    async def end(self, *, by: Signals = SIGKILL) -> int:
        """End the daemon, by now or by a signal of before; its exit code."""
        pid = self.daemon.pid
        self.daemon.signal(by)
        peer = Peer.of(pid)
        await until(lambda: peer.ended)
        code = self.daemon.wait()
        await until(lambda: not self.reader.connected)  # it has read all that was sent
        await self.load.answered()
        return code

    async def stop(self) -> None:
        """End it in its own time."""
        code = await self.end(by=SIGTERM)
        if code:
            self.court.violated("the daemon", f"it ended with {code}")

    async def aim(self, phase: Phase, spread: float = 1.0) -> None:
        """Return at a random instant of a `phase` of the daemon, or just after it, or when there is none.

        `spread`: of which part of it, when it is as short as it may be.
        """
        deadline = monotonic() + HIT_WITHIN
        while not self.witness.at(phase) and monotonic() < deadline:
            await _look_again()
        pause = self.draw.uniform(0, spread * self.witness.takes(phase))
        if pause < PRECISE:
            _wait(pause)
        else:
            await asyncio.sleep(pause)

    async def aim_well(self, phase: Phase) -> None:
        """The same for a phase that comes again and again, now for longer: not after it."""
        for _ in range(AIMS):
            await self.aim(phase, SPREAD)
            if self.witness.at(phase):
                return

    async def first_answer(self) -> Snapshot | None:
        """The first answer of a daemon that was just launched; None when it has nothing to serve."""
        while True:
            try:
                async with await Connection.open(self.daemon.socket) as connection:
                    return await self._snapshot(connection)
            except OSError:
                await asyncio.sleep(ASK_AGAIN)

    async def snapshot(self) -> Snapshot | None:
        """One that is not older than this question."""
        async with await Connection.open(self.daemon.socket) as connection:
            return await self._snapshot(connection, linearizable=True)

    async def status(self) -> dict[str, Any]:
        """How the range is doing."""
        async with await Connection.open(self.daemon.socket) as connection:
            await connection.ask("/v1/status")
            status: dict[str, Any] = orjson.loads(await connection.body())["ranges"][0]
            return status

    async def live(self) -> dict[str, Any]:
        """Return when the range is live, and the reader knows all that etcd was told before; its status."""
        await self.load.answered()
        head = self.load.head
        while True:
            status, told = await self.status(), self.reader.place
            if status["state"] == "live" and told and told.epoch == status["epoch"] and told.revision >= head:
                return status
            await asyncio.sleep(ASK_AGAIN)

    async def _snapshot(self, connection: Connection, *, linearizable: bool | None = None) -> Snapshot | None:
        await connection.ask(target("snapshot", prefix=PREFIX, linearizable=linearizable))
        lines = Lines()
        while (line := await connection.line()) is not None:
            if isinstance(told := lines.add(orjson.loads(line)), Snapshot):
                return told
        return None


@asynccontextmanager
async def stage(draw: random.Random) -> AsyncIterator[Stage]:
    """Everything is there and runs, but for the daemon."""
    async with AsyncExitStack() as stack:
        etcd = stack.enter_context(Etcd())
        proxy = await stack.enter_async_context(Proxy(etcd.port))
        members = await stack.enter_async_context(Members([etcd]))
        load = Load(etcd, members, random.Random(draw.random()))
        await load.fill()
        daemon = Daemon(
            proxy.url,
            [PREFIX.decode()],
            {"sync": {"page_bytes": PAGE_BYTES}},
            module=MODULE,
        )
        stack.callback(daemon.close)
        witness = Witness(daemon.directory / "witness")
        daemon.environment[VARIABLE] = str(witness.path)
        daemon.settings["cache"] = {"directory": str(cache_of(daemon))}
        daemon.write()
        held = Stage(load, proxy, daemon, witness, draw)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(load.run(), name="load"),
                group.create_task(held.reader.run(), name="reader"),
            ]
            yield held
            for task in tasks:
                task.cancel()


def cache_of(daemon: Daemon) -> Path:
    """Where the daemon keeps its copy."""
    return daemon.directory / "cache"


async def _look_again() -> None:
    await asyncio.sleep(0)
    _wait(LOOK)


def _wait(seconds: float) -> None:
    sleep(seconds)
