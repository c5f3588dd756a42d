"""What readers were told and is yet to be judged, and what all readers share."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.reliability.answers import Answer, Processes, judge_answer, learn
from tests.reliability.court import Claim, Court
from tests.reliability.rules import Watch
from tests.reliability.tally import Tally

SITTING_SECONDS = 0.2
"""Between two times that the court sits: what came meanwhile is judged at once."""

REFLECTION_SECONDS = 2.0
"""A single answer is judged only after this: its epoch's generation may be known only from what others are
told, and what was acknowledged before it was asked for may be noted a little later."""


@dataclass(eq=False)
class Listening:
    """A watch, and whether its reader still listens. `heartbeat`: None for one that dozes."""

    watch: Watch
    heartbeat: float | None
    ended: bool = False


class Docket:
    """Everything that waits to be judged."""

    def __init__(self, court: Court) -> None:
        self.court = court
        self._watches: list[Listening] = []
        self._answers: deque[Answer] = deque()

    def watch(self, watch: Watch, heartbeat: float | None) -> Listening:
        """Judge this watch from now on, and that it isn't silent until it has `ended`."""
        listening = Listening(watch, heartbeat)
        self._watches.append(listening)
        return listening

    def answer(self, answer: Answer) -> None:
        """Judge this answer, later."""
        learn(self.court, answer)
        self._answers.append(answer)

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

    def finish(self) -> None:
        """Judge everything that can be judged at all, and count the rest."""
        for listening in self._watches:
            listening.watch.judge()
        self._judge_answers(monotonic())
        waiting = sum(listening.watch.waiting for listening in self._watches)
        self.court.tally.unjudged = waiting + len(self._answers)

    def _judge_answers(self, until: float) -> None:
        self._answers = deque(
            answer
            for answer in self._answers
            if answer.claim.at > until or not judge_answer(self.court, answer)
        )


@dataclass
class Scene:
    """What all readers share. `range`: what is mirrored; `prefixes`: what they ask for."""

    socket: Path
    docket: Docket
    draw: random.Random
    range: bytes
    prefixes: tuple[bytes, ...]
    processes: Processes = field(init=False)

    def __post_init__(self) -> None:
        self.processes = Processes(self.docket.court)

    @property
    def court(self) -> Court:
        """Where violations are noted."""
        return self.docket.court

    @property
    def tally(self) -> Tally:
        """Where things are counted."""
        return self.docket.court.tally

    async def pause(self, least: float, most: float) -> None:
        """Do nothing for a random time."""
        await asyncio.sleep(self.draw.uniform(least, most))


def claim_of(reader: str, asked: float, headers: dict[str, str]) -> Claim:
    """What an answer's headers say; a header that is not there says nothing."""
    age = headers.get("syncd-age-ms")
    return Claim(
        reader,
        monotonic(),
        asked,
        headers.get("syncd-epoch", ""),
        int(headers.get("syncd-revision", 0)),
        headers.get("syncd-state", ""),
        None if age is None else int(age),
    )
