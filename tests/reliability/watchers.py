"""Readers of watches: each is told everything, remembers its place, and goes on from there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

import orjson

from tests.reliability.answers import Answer
from tests.reliability.court import Claim, Place
from tests.reliability.rules import Watch
from tests.reliability.scene import Scene, claim_of
from tests.reliability.told import Lines, Malformed, Progress, Refusal, Selection, Snapshot, refusal
from tests.reliability.wire import READ_BYTES, Connection, target

HEARTBEATS_MS = (200, 500, 1000, 5000)
STAY_SECONDS = (0.5, 20.0)
"""How long a fickle reader stays."""

AWAY_SECONDS = (2.0, 20.0)
AWAY = 0.3
"""How often it stays away for so long; else it is back at once."""

SIP_BYTES = 4096
SIP_SECONDS = (0.05, 0.5)
"""A slow reader takes so much, and then nothing for so long: a few ten KB a second."""

DOZE_SECONDS = (5.0, 40.0)
"""Now and then it takes nothing for so long. The daemon closes who takes nothing for a minute."""

AWAKE_SECONDS = (1.0, 5.0)
"""Then it reads as fast as it can, for so long."""

WAIT_SECONDS = 5.0
"""What a daemon waits for a place that is yet to come, unless told otherwise."""

QUIET_SECONDS = 0.1
"""A daemon that has anything left to send to a reader who has read everything does so before that."""

Manner = Literal["steady", "fickle", "slow"]


@dataclass(frozen=True, slots=True)
class Habit:
    """What a reader asks for, and in which form it wants it."""

    selection: Selection
    heartbeat_ms: int
    events: bool
    """Server-sent events."""
    with_snapshot: bool


class Watcher:
    """One reader. Steady ones stay while the stream does, fickle ones hang up and return, slow ones doze."""

    def __init__(self, scene: Scene, number: int, manner: Manner) -> None:
        self._scene = scene
        self._manner = manner
        self._name = f"{manner} watch {number}"
        self._habit = self._new_habit()
        self._place: Place | None = None
        self._told_by = 0  # the process that told the place

    async def run(self) -> None:
        """Read until cancelled."""
        sip = SIP_BYTES if self._manner == "slow" else READ_BYTES
        draw = self._scene.draw
        while True:
            await self._scene.talk(self._name, self._read, sip)
            away = self._manner == "fickle" and draw.random() < AWAY
            await self._scene.pause(*(AWAY_SECONDS if away else (0.02, 0.4)))

    async def _read(self, connection: Connection) -> None:
        if self._place is None:
            self._habit = self._new_habit()
        place, query, headers = self._request()
        asked = monotonic()
        await connection.ask(query, headers, WAIT_SECONDS)
        claim = claim_of(self._name, asked, connection)
        if connection.status != 200:
            await self._refused(connection, claim, place)
            return
        self._scene.processes.served(claim)
        self._scene.docket.answer(Answer(claim))
        watch = self._begin(claim, place, connection.pid)
        heartbeat = None if self._manner == "slow" else self._habit.heartbeat_ms / 1000
        listening = self._scene.docket.watch(watch, heartbeat)
        try:
            stay = self._scene.draw.uniform(*STAY_SECONDS) if self._manner == "fickle" else None
            async with asyncio.timeout(stay):
                await self._listen(connection, watch, asked)
        except TimeoutError:
            pass  # it hangs up
        except Malformed:
            self._place = None
            raise
        finally:
            listening.ended = True

    def _request(self) -> tuple[Place | None, str, dict[str, str]]:
        """The place to go on from (None: no place, a snapshot comes first), and how to ask for that."""
        habit, place = self._habit, self._place
        selection = habit.selection
        headers = {"Accept": "text/event-stream"} if habit.events else {}
        by_header = habit.events and place is not None
        if by_header and place:
            headers["Last-Event-ID"] = f"{place.epoch}/{place.revision}"
        # A browser that comes back asks for what it asked for at first, and adds the header; a snapshot wins.
        if by_header and habit.with_snapshot:
            place = None
        query = target(
            "watch",
            prefix=selection.prefix,
            prev_kv=selection.prev_kv or None,
            events=selection.only,
            heartbeat_ms=habit.heartbeat_ms,
            snapshot=(habit.with_snapshot and place is None) or None,
            from_=place.revision if place and not by_header else None,
            epoch=place.epoch if place and not by_header else None,
        )
        return place, query, headers

    def _begin(self, claim: Claim, place: Place | None, process: int) -> Watch:
        """The watch that `claim`, the answer's headers, begins."""
        here, resumed = Place(claim.epoch, claim.revision), place is not None
        if place is None and not self._habit.with_snapshot:
            place = here
        if place and place.epoch != here.epoch:
            self._violated("resumable", f"goes on in epoch {here.epoch!r}", f"the place is {place}")
        self._place = place
        self._scene.tally.resumes += resumed
        selection = self._habit.selection
        return Watch(self._scene.court, self._name, selection, place, resumed=resumed, process=process)

    async def _listen(self, connection: Connection, watch: Watch, asked: float) -> None:
        lines = Lines()
        event_id = ""
        rhythm = _Rhythm(self._scene) if self._manner == "slow" else None
        self._told_by = connection.pid
        while (line := await connection.line()) is not None:
            if rhythm:
                await rhythm.beat(len(line))
            if self._habit.events:
                name, _, line = line.partition(b": ")
                if name == b"id":
                    event_id = line.decode()
                elif name not in (b"", b"data"):
                    raise Malformed(f"no line of an event: {name[:200]!r}")
                if name != b"data":
                    continue
            told = lines.add(_document(line))
            if told is None:
                continue
            at = monotonic()
            if isinstance(told, Refusal):
                epoch, revision = self._place or Place("", 0)
                claim = Claim(self._name, at, asked, epoch, revision, "", None, self._told_by)
                self._scene.processes.broken_off(claim, told)
                self._place = None
                return
            watch.hear(told, at)
            self._place = watch.heard_place
            if isinstance(told, Snapshot):
                self._claim(told, told.epoch, at, asked)
            elif self._place:
                self._check_id(event_id, self._place)
                if isinstance(told, Progress) and at - connection.empty_at > QUIET_SECONDS:
                    self._claim_later(told, self._place.epoch, at, connection.empty_at)
        self._scene.docket.ended(self._name, connection, "the stream ended, and properly")

    def _claim_later(self, told: Progress, epoch: str, at: float, empty_at: float) -> None:
        """Nothing was under way at `empty_at`, so `told` was said later: as if it had been asked for then."""
        # What a slow reader has not taken yet may wait in the daemon, and be old.
        if self._manner != "slow":
            self._claim(told, epoch, at, empty_at)

    def _claim(self, told: Progress | Snapshot, epoch: str, at: float, asked: float) -> None:
        claim = Claim(self._name, at, asked, epoch, told.revision, told.state, told.age_ms, self._told_by)
        self._scene.docket.answer(Answer(claim))

    def _check_id(self, event_id: str, place: Place) -> None:
        """The event's id is what the reader would resume from."""
        if self._habit.events and event_id != f"{place.epoch}/{place.revision}":
            self._violated("resumable", f"the event's id is {event_id!r}", f"this is {place}")

    async def _refused(self, connection: Connection, claim: Claim, place: Place | None) -> None:
        error = refusal(_document(await connection.body()))
        processes, docket = self._scene.processes, self._scene.docket
        if place is None:
            processes.refused(claim, error)
        elif later := processes.resume_refused(claim, error, place, self._told_by):
            docket.answer(later)
        if claim.epoch:
            docket.answer(Answer(claim))
        if error.code == "compacted":
            self._place = None

    def _violated(self, rule: str, told: object, true: object) -> None:
        place = self._place or Place("", 0)
        self._scene.tally.violated(rule, self._name, told, true, monotonic(), place.epoch, place.revision)

    def _new_habit(self) -> Habit:
        draw = self._scene.draw
        only: Literal["put", "delete"] | None = draw.choice((None, None, None, None, "put", "delete"))
        prefix = draw.choice((self._scene.range, *self._scene.prefixes))
        return Habit(
            Selection(prefix, prev_kv=draw.random() < 0.4, only=only),
            draw.choice(HEARTBEATS_MS),
            events=draw.random() < 0.25,
            with_snapshot=draw.random() < 0.8,
        )


class _Rhythm:
    """When a slow reader stops: after each sip for a moment, and for long now and then."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._taken = 0
        self._awake_until = 0.0

    async def beat(self, size: int) -> None:
        self._taken += size
        if monotonic() < self._awake_until or self._taken < SIP_BYTES:
            return
        self._taken = 0
        if self._scene.draw.random() < 0.02:
            await self._scene.pause(*DOZE_SECONDS)
            self._awake_until = monotonic() + self._scene.draw.uniform(*AWAKE_SECONDS)
        else:
            await self._scene.pause(*SIP_SECONDS)


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"{error}: {line[:200]!r}") from error
    if not isinstance(document, dict):
        raise Malformed(f"not an object: {line[:200]!r}")
    return document
