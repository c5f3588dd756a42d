"""Which faults happen when: pure, and the same again for the same seed and kinds.

Rounds of one to three faults that overlap. Kinds are dealt from shuffled decks rather than drawn one by
one, so that a short run sees most of them and a long one all of them about equally often.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tests.reliability.kinds import Kind

FAULTS_A_ROUND = (1, 2, 3, 3)
LATEST = 1.0
"""Seconds after the round's beginning by which every fault has begun: shorter than most hold."""


@dataclass(frozen=True)
class Planned:
    """One fault: it begins `offset` seconds after its round, and holds for `hold`."""

    kind: Kind
    offset: float
    hold: float
    seed: int
    """For what is left to chance within it, such as which member."""


@dataclass(frozen=True)
class Round:
    """Faults that overlap; when all of them are healed, the daemon has to recover."""

    number: int
    faults: tuple[Planned, ...]


def rounds(kinds: Collection[Kind], seed: int) -> Iterator[Round]:
    """Rounds without end."""
    draw = random.Random(seed)
    waiting: list[Kind] = []
    number = 0
    while True:
        number += 1
        if len(waiting) < max(FAULTS_A_ROUND):
            waiting += draw.sample(sorted(kinds, key=lambda kind: kind.name), len(kinds))
        chosen = _fitting(waiting, draw.choice(FAULTS_A_ROUND))
        yield Round(number, tuple(_planned(kind, draw) for kind in chosen))


def _fitting(waiting: list[Kind], most: int) -> list[Kind]:
    """Take the first kind, and further ones that may overlap what was taken."""
    chosen = [waiting.pop(0)]
    for kind in tuple(waiting):
        if len(chosen) == most:
            break
        if not any(kind.takes & other.takes for other in chosen):
            chosen.append(kind)
            waiting.remove(kind)
    return chosen


def _planned(kind: Kind, draw: random.Random) -> Planned:
    return Planned(kind, draw.uniform(0, LATEST), draw.uniform(*kind.hold), draw.getrandbits(32))
