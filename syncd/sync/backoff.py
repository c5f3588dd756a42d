"""How long to wait before trying again: exponential, with full jitter. Pure but for the dice it is given."""

from __future__ import annotations

import random

FIRST = 0.1
CAP = 30.0
FACTOR = 2.0

HEALTHY_AFTER = 2.0
"""Heartbeats from one proof to a later one, in one stream or in several, until the next failure is the first
again."""


class Backoff:
    """The pauses of one mirror, in seconds, each drawn evenly from zero to a limit that doubles up to CAP.

    From zero: a thousand daemons that lose etcd at the same instant must not come back together.
    """

    def __init__(self, draw: random.Random, heartbeat: float) -> None:
        self._draw = draw
        self._healthy_after = HEALTHY_AFTER * heartbeat
        self._limit = FIRST
        self._proofs: tuple[float, float] | None = None  # the first since the last failure, and the last

    def healthy(self, now: float) -> None:
        """All is well at `now`; hanging in a connection that leads nowhere is not."""
        self._proofs = (self._proofs[0] if self._proofs else now, now)

    def failed(self) -> float:
        """How long to wait after a failure."""
        if self._proofs and self._proofs[1] - self._proofs[0] >= self._healthy_after:
            self._limit = FIRST
        self._proofs = None
        pause = self._draw.uniform(0, self._limit)
        self._limit = min(self._limit * FACTOR, CAP)
        return pause
