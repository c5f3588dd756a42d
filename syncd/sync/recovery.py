"""What a mirror does after each failure, seen together with those before. Pure but for the dice."""

from __future__ import annotations

import random
from dataclasses import dataclass

from syncd.errors import SyncdError
from syncd.sync.backoff import Backoff
from syncd.sync.decide import reaction
from syncd.sync.turns import Turns


@dataclass(frozen=True, slots=True)
class Plan:
    """`reason` of the failure is a metric's label, and so is `reread`: why to read the range again, if so."""

    reason: str
    reread: str | None
    pause: float
    """Seconds."""
    in_turn: bool
    """Whether the pause is there for others that must read again, too: nothing ends it early."""


class Recovery:
    """One mirror's: `reread` says why the range must be read before it is watched, None if it need not."""

    def __init__(self, draw: random.Random, heartbeat: float, turns: Turns) -> None:
        self.reread: str | None = "initial"
        self._turns = turns
        self._backoff = Backoff(draw, heartbeat)
        # Of re-reads that do not help; how long etcd was away before the first one says nothing of that.
        self._rereads = Backoff(draw, heartbeat)
        self._fresh_token = False

    def failed(self, error: SyncdError, read_took: float) -> Plan:
        """What to do after `error`; the last full read took `read_took` seconds."""
        decided = reaction(error)
        begins = decided.reread and self.reread is None
        if begins:
            pause = max(self._rereads.failed(), self._turns.needed(read_took))
        elif decided.about_token and not self._fresh_token:
            # The gateway has let go of the token of a watch; if a fresh one does not help, it was not that.
            pause, self._fresh_token = 0.0, True
        else:
            pause = self._backoff.failed()
        if decided.reread and self.reread != "initial":
            # One that has to begin again is still the same, unless etcd turned out to be another.
            self.reread = (
                "epoch" if "epoch" in (self.reread, decided.reason) else self.reread or decided.reason
            )
        return Plan(decided.reason, self.reread, pause, begins)

    def read(self) -> None:
        """There is something to go on from."""
        self.reread = None

    def healthy(self, now: float) -> None:
        """The range is proved current at `now`."""
        self._backoff.healthy(now)
        self._rereads.healthy(now)
        self._fresh_token = False
