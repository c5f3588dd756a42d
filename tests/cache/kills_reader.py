"""A local reader that watches the range through all that happens to the daemon, and goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import orjson

from tests.cache.kills_court import Court, Place
from tests.cache.kills_load import PREFIX, Changed, Load
from tests.reliability.history import Event, Generation, Record
from tests.reliability.told import Batch, Lines, Progress, Refusal, Snapshot, refusal
from tests.reliability.wire import Connection, Cut, target

WHO = "the reader"
HEARTBEAT_MS = 200
WAIT_MS = 2000
"""For a daemon that begins behind the reader: etcd tells it the rest, unless it was wiped."""

PAUSE = 0.005
"""Seconds until a daemon that is not there is looked for again."""


class Reader:
    """Keeps a copy of the range by what it is told, and has all of it judged."""

    def __init__(self, socket: Path, load: Load, court: Court) -> None:
        self._socket = socket
        self._load = load
        self._court = court
        self._copy: dict[bytes, Record] = {}
        self._generation: Generation | None = None
        self._connected = False
        self.place: Place | None = None
        """All up to here was told."""
        self.resumed = 0
        """How often it went on from its place, with another daemon."""
        self.gaps: list[str] = []
        """What it was told of history that is lost, since `forgive`."""

    def forgive(self) -> list[str]:
        """Forget the gaps; they are returned."""
        gaps, self.gaps = self.gaps, []
        return gaps

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                async with await Connection.open(self._socket) as connection:
                    self._connected = True
                    await self._read(connection)
            except (Cut, OSError):
                pass  # the daemon was killed, or is not there
            finally:
                self._connected = False
            await asyncio.sleep(PAUSE)

    @property
    def connected(self) -> bool:
        """Whether there may be more to be read of what the daemon has sent."""
        return self._connected

    @property
    def generation(self) -> Generation | None:
        """That of its place."""
        return self._generation

    async def _read(self, connection: Connection) -> None:
        place = self.place
        query = target(
            "watch",
            prefix=PREFIX,
            prev_kv=True,
            heartbeat_ms=HEARTBEAT_MS,
            wait_ms=WAIT_MS,
            snapshot=True if place is None else None,
            from_=place.revision if place else None,
            epoch=place.epoch if place else None,
        )
        await connection.ask(query, wait=WAIT_MS / 1000)
        if connection.status != 200:
            self._refused(refusal(orjson.loads(await connection.body())))
            return
        if place:
            self.resumed += 1
            if connection.headers["syncd-epoch"] != place.epoch:
                self._court.violated(WHO, f"{place} is resumed in epoch {connection.headers['syncd-epoch']}")
        lines = Lines()
        while (line := await connection.line()) is not None:
            if told := lines.add(orjson.loads(line)):
                await self._load.answered()  # the daemon may be quicker than etcd's answer to the writer
                if isinstance(told, Refusal):
                    self._refused(told)
                    return
                self._hear(told)

    def _refused(self, told: Refusal) -> None:
        if told.code == "compacted":
            self.gaps.append(f"{self.place}: {told}")
            self.place = self._generation = None
        elif told.code not in ("not_ready", "too_stale"):  # else it has to ask again
            self._court.violated(WHO, f"{self.place} is refused: {told}")

    def _hear(self, told: Batch | Progress | Snapshot) -> None:
        if isinstance(told, Snapshot):
            self._copy = {record.key: record for record in told.records}
            if told.counts != (len(self._copy),) * 2:
                self._court.violated(WHO, f"a snapshot of {len(self._copy)} keys counts {told.counts}")
            self._is_at(Place(told.epoch, told.revision), self._copy)
        elif isinstance(told, Batch) and told.resync:
            self.gaps.append(f"{self.place}: resync to {told.epoch}, {told.revision}")
            self._follow(told)
            self._is_at(Place(told.epoch, told.revision), dict(sorted(self._copy.items())))
        elif self.place and self._generation:
            changes: Sequence[Changed] = ()
            if isinstance(told, Batch):
                self._follow(told)
                changes = [(told.revision, tuple(Event(e.key, e.kv, e.prev) for e in told.events))]
            before, self.place = self.place, Place(self.place.epoch, told.revision)
            self._court.changes(WHO, self._generation, before.revision, told.revision, changes)
            if told.revision < before.revision:
                self._court.violated(WHO, f"{before} is followed by {told.revision}")

    def _follow(self, told: Batch) -> None:
        for event in told.events:
            if event.kv:
                self._copy[event.key] = event.kv
            else:
                self._copy.pop(event.key, None)

    def _is_at(self, place: Place, state: dict[bytes, Record]) -> None:
        self.place = place
        self._generation = self._court.state(WHO, place, state)
