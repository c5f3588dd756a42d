"""What readers were told and is yet to be judged. At the end, what could not be is a violation, too."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from time import monotonic

from tests.reliability.answers import Answer, judge_answer, learn
from tests.reliability.court import Court, Place
from tests.reliability.rules import Unknown, Watch
from tests.reliability.wire import Connection, Peer

SITTING_SECONDS = 0.2
"""Between two times that the court sits: what came meanwhile is judged at once."""

REFLECTION_SECONDS = 2.0
"""A single answer is judged only after this: its epoch's generation may be known only from what others are
told, and what was acknowledged before it was asked for may be noted a little later."""

DYING_SECONDS = 5.0
"""A process that is told to stop ends its streams first, and itself two seconds later, on a quiet machine."""

STALLED_SECONDS = 60.0
"""For which a reader takes nothing until the daemon may close it."""

SETTLING_SECONDS = DYING_SECONDS + 2.0
"""At the end: for the judge to hear what readers have heard already, and for a process that cuts to end."""

ARRIVAL_SECONDS = 10.0
"""Until a watch has been told of all that has happened, when all is well: twice the longest heartbeat."""

UNMARKED_SECONDS = 5.0
"""An epoch's generation is known as soon as a reader is told a marker under it; some are in each second. When
an epoch went by faster nobody can know it: the daemon was killed, or etcd replaced, in that moment."""


@dataclass(eq=False)
class Listening:
    """A watch, and whether its reader still listens. `heartbeat`: None for one that dozes."""

    watch: Watch
    heartbeat: float | None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """`reader`'s stream, or the answer it waited for, ended before its time at `at`, while `peer` sent it."""

    reader: str
    peer: Peer
    what: str
    at: float


class Docket:
    """Everything that waits to be judged."""

    def __init__(self, court: Court) -> None:
        self.court = court
        self._watches: list[Listening] = []
        self._answers: deque[Answer] = deque()
        self._ends: list[End] = []

    def watch(self, watch: Watch, heartbeat: float | None) -> Listening:
        """Judge this watch from now on, and that it isn't silent until it has `ended`."""
        listening = Listening(watch, heartbeat)
        self._watches.append(listening)
        return listening

    def answer(self, answer: Answer) -> None:
        """Judge this answer, later."""
        learn(self.court, answer)
        self._answers.append(answer)

    def ended(self, reader: str, connection: Connection, what: str) -> None:
        """The daemon ended what it was saying: it may if it ends, too, or if the reader did not read."""
        if connection.longest_pause >= STALLED_SECONDS:
            self.court.tally.cut += 1
        else:
            self._ends.append(End(reader, connection.peer, what, monotonic()))

    async def arrive(self, revision: int) -> None:
        """All is well, and etcd is at `revision`: whoever listens is told in time how far that is."""
        until = monotonic() + ARRIVAL_SECONDS
        late = [each for each in self._watches if each.heartbeat is not None]
        while late := [each for each in late if not (each.ended or self._is_at(each.watch, revision))]:
            if monotonic() > until:
                break
            await asyncio.sleep(SITTING_SECONDS)
        true = f"etcd has been at {revision} for {ARRIVAL_SECONDS:g} s, and all is well"
        for each in late:
            self._violated("reliable", each.watch.reader, f"up to {each.watch.heard_place}", true, until)

    def _is_at(self, watch: Watch, revision: int) -> bool:
        """Whether its reader was told everything up to `revision` of etcd's present history."""
        epoch, reached = watch.heard_place or Place("", 0)
        return self.court.epochs.generation(epoch) == self.court.history.generation and reached >= revision

    async def run(self) -> None:
        """Judge what can be judged, now and then, until cancelled."""
        while True:
            await asyncio.sleep(SITTING_SECONDS)
            for listening in tuple(self._watches):
                listening.watch.judge()
                if listening.heartbeat is not None and not listening.ended:
                    listening.watch.wait(monotonic(), listening.heartbeat)
                await asyncio.sleep(0)
            self._watches = [each for each in self._watches if each.watch.waiting or not each.ended]
            self._judge_answers(monotonic() - REFLECTION_SECONDS)
            self._judge_ends()

    async def finish(self) -> None:
        """Judge everything, when nobody listens any more. What cannot be judged even now is a violation."""
        until = monotonic() + SETTLING_SECONDS
        while self._waits() and monotonic() < until:  # noqa: ASYNC110 - what it waits for is told nowhere
            await asyncio.sleep(SITTING_SECONDS)
        unknown: dict[str, list[Unknown]] = defaultdict(list)
        for each in self._unknown():
            unknown[each.place.epoch].append(each)
        for epoch, those in unknown.items():
            times = [each.at for each in those]
            passed_by = max(times) - min(times) < UNMARKED_SECONDS
            if epoch and passed_by and self.court.epochs.generation(epoch) is None:
                self.court.tally.unjudged += len(those)
                continue
            for each in those:
                self._violated("unjudged", each.reader, each.told, self.court.unknown(each.place), each.at)

    def _waits(self) -> bool:
        """Judge, and tell whether anything is left."""
        for listening in self._watches:
            listening.watch.judge()
        self._judge_answers(monotonic())
        self._judge_ends()
        return bool(self._ends or self._answers or any(each.watch.waiting for each in self._watches))

    def _unknown(self) -> list[Unknown]:
        watched = [stuck for each in self._watches if (stuck := each.watch.stuck)]
        claims = [(answer, answer.claim) for answer in self._answers]
        return watched + [
            Unknown(claim.reader, answer, claim.at, Place(claim.epoch, claim.revision))
            for answer, claim in claims
        ]

    def _judge_answers(self, until: float) -> None:
        self._answers = deque(
            answer
            for answer in self._answers
            if answer.claim.at > until or not judge_answer(self.court, answer)
        )

    def _judge_ends(self) -> None:
        waiting = []
        for end in self._ends:
            if end.peer.ended:
                self.court.tally.cut += 1
            elif monotonic() - end.at < DYING_SECONDS:
                waiting.append(end)
            else:
                alive = f"process {end.peer.pid} lives, {DYING_SECONDS:g} s later"
                self._violated("cut", end.reader, end.what, alive, end.at)
        self._ends = waiting

    def _violated(self, rule: str, reader: str, told: object, true: str, at: float) -> None:
        self.court.tally.violated(rule, reader, told, true, at, "", 0)
