"""What a fault is: a kind, which is all that the schedule knows, and what happens to the stage.

What happens is an async context manager: what stands before its `yield` injects the fault, what stands after
heals it. In between it holds, for as long as the schedule says. Most faults are certain to do what their name
says; the others look whether they did, and raise MissedError when they did not, after all is healed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum

from tests.reliability.stage import Stage


class MissedError(Exception):
    """The fault was made, and undone, but did not do what its name says; why."""


class Part(Enum):
    """A part of the stage. Two faults of the same part would undo each other, so they never overlap."""

    MEMBERS = "the members' processes, and their roads to each other"
    ROAD = "the daemon's road to the members"
    DATA = "what etcd holds"
    USERS = "users, roles and passwords"
    DAEMON = "the daemon's process"
    CERTIFICATES = "the files of certificates and keys, the daemon's and etcd's"
    CLOCK = "the daemon's wall clock"


ALL = frozenset(Part)
"""What a fault takes that must be alone."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how long it may hold, in seconds, and which parts of the stage it takes."""

    name: str
    hold: tuple[float, float]
    takes: frozenset[Part]

    @property
    def alone(self) -> bool:
        """Whether no other fault may overlap it."""
        return self.takes == ALL


async def watched(stage: Stage) -> int:
    """The index of the member that the daemon watches; MissedError when it does not run to tell."""
    index = await stage.watched()
    if index is None:
        raise MissedError("the daemon is down, and watches no member")
    return index


Happening = Callable[[Stage, random.Random], AbstractAsyncContextManager[None]]
Faults = Mapping[Kind, Happening]


def kind(name: str, *takes: Part, hold: tuple[float, float] = (1.0, 3.0)) -> Kind:
    """A kind that takes these parts; all, if none is named."""
    return Kind(name, hold, frozenset(takes) or ALL)
