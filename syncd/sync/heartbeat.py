"""What the answers of a watch prove: that it lives, that it is complete, and as of when. Pure.

Silence proves nothing, and neither does an event: on a slow link it may be old. Proof is the answer to a
progress request: the watch is complete up to its revision, as of the moment it was *asked*. Only where
none can be asked for, an event has to do.

Until 3.4.24 and 3.5.7 such an answer may overtake events that etcd still has in its queues, or that a
watch which is catching up has not even looked for. There, an answer is only a *candidate*, believed
when an event past its revision arrives (events are ordered), or when another one follows that was asked for
after a while without any event: long enough for queues (microseconds) and for a catch-up of that many
revisions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

ASKS_PER_HEARTBEAT = 4
UNANSWERED = 3
"""With three requests unanswered a stream is given up: within one heartbeat. Where one or two were dropped
and answers are credited to earlier requests, the proof is still younger than a heartbeat."""

SETTLE = 1.0
"""Seconds without an event after which a candidate is believed: etcd retries a blocked watch every 10 ms
and moves watches on that are behind every 100 ms."""

TAKE_UP = 0.15
"""Seconds until etcd has surely looked at a new watch: it looks every 100 ms. Before, and until it is caught
up, newer versions drop progress requests."""

CATCH_UP_REVISIONS = 20_000
"""Revisions a second that etcd is trusted to look through for a watch that is behind; it sends 8,000."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The watch is complete up to `revision`, as of the time `asked`."""

    revision: int
    asked: float


class Tick(Enum):
    """What to do now."""

    NOTHING = "nothing"
    ASK = "ask"
    REOPEN = "reopen"
    """Planned: the stream can't be asked (again), but a new one can."""
    SILENT = "silent"
    """The stream is dead."""


@dataclass(slots=True)
class _Candidate:
    proof: Proof
    quiet_since: float


class Heartbeat:
    """One stream's: opened at `now` `behind` revisions behind etcd. Times are seconds of any one clock."""

    def __init__(self, now: float, interval: float, *, behind: int, duplex: bool) -> None:
        self._pause = interval / ASKS_PER_HEARTBEAT
        self._duplex = duplex
        self._behind = behind
        # Without duplex, the one request travelled in the body that opened the stream.
        self._asked: deque[float] = deque() if duplex else deque([now])
        self._heard = now
        self._flowed = now
        self._opened = now
        self._taken_up_at = now + TAKE_UP
        self._settled_at = now + SETTLE + behind / CATCH_UP_REVISIONS
        self._candidate: _Candidate | None = None
        self.next = now
        """When to call `tick`."""

    def tick(self, now: float) -> Tick:
        """What is due. ASK says that the caller asks now."""
        self.next = now + self._pause
        if now < self._taken_up_at:
            self.next = min(self.next, self._taken_up_at)
        if not self._duplex:
            idle = now - max(self._heard, self._opened)
            return Tick.REOPEN if idle >= self._pause else Tick.NOTHING
        if len(self._asked) >= UNANSWERED and now - self._asked[0] >= (UNANSWERED - 0.5) * self._pause:
            # Either nothing comes any more; or requests were dropped while events flowed, and answers can
            # no longer be told apart: a new stream begins with a clean count. The age matters, too: a few
            # readers in a hurry ask three times within a millisecond.
            return Tick.SILENT if self._heard < self._asked[0] else Tick.REOPEN
        return self.ask(now)

    def ask(self, now: float) -> Tick:
        """Somebody wants a proof at once."""
        if not self._duplex or len(self._asked) >= UNANSWERED or self._catching_up(now):
            return Tick.NOTHING  # catching up, it would be dropped silently from 3.4.31 and 3.5.13 on
        self._asked.append(now)
        return Tick.ASK

    def events(self, now: float, newest: int, *, caught_up: bool) -> Proof | None:
        """Events up to revision `newest` arrived; `caught_up`: they reach where etcd was at the opening."""
        self._heard = self._flowed = now
        if caught_up:
            self._behind = 0
        if not self._duplex:
            # Nothing better can be had here; the road behind a proxy is taken to be quick.
            return Proof(newest, now)
        candidate = self._candidate
        if candidate is None:
            return None
        if newest > candidate.proof.revision:
            self._candidate = None
            return candidate.proof
        candidate.quiet_since = now
        return None

    def answer(self, now: float, revision: int, *, synchronised: bool, asked: bool) -> Proof | None:
        """A progress answer or, not `asked` for, a periodic notification arrived; what it proves, if any."""
        self._heard = now
        if not asked or not self._asked:
            # Unasked: etcd held nothing back when it was sent, whenever that was.
            return Proof(revision, self._opened) if synchronised else None
        proof = Proof(revision, self._asked.popleft())
        if synchronised:
            self._behind = 0
            return proof
        self.next = min(self.next, now + SETTLE)
        before = self._candidate
        # When it was asked, not when it arrived: on a slow road answers to one moment come far apart.
        if before and proof.asked >= before.quiet_since + SETTLE and before.quiet_since >= self._settled_at:
            self._candidate = _Candidate(proof, now)
            return before.proof
        if before is None or before.quiet_since < self._settled_at:
            self._candidate = _Candidate(proof, now)
        return None

    @property
    def behind(self) -> bool:
        """Whether events may still be missing from where etcd was when the stream was opened."""
        return self._behind > 0

    def heard(self, now: float) -> None:
        """Something else arrived."""
        self._heard = now

    def _catching_up(self, now: float) -> bool:
        """Etcd has not taken up the watch yet, or events still flow towards where it was at the opening."""
        return now < self._taken_up_at or (self._behind > 0 and now - self._flowed < self._pause)
