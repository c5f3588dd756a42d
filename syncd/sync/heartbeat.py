"""What proves that a range is current, and when to ask for it. Pure.

A proof needs two halves. *Confirmed*: a linearizable answer says that etcd was at revision L at the moment
it was asked. *Complete*: the watch has delivered everything up to revision P. The range is current as of the
latest moment whose L is at or below P. Neither half does alone: silence proves nothing, an event may be old
on a slow link, and the progress answer of a member that lost its peers tells where that member stopped,
not where etcd is.

Complete up to P is what the newest event says (events are ordered), and the answer to a progress request.
Until 3.4.24 and 3.5.7 such an answer may overtake events that etcd still has in its queues, or that a
watch which is catching up has not even looked for. There, an answer is only a *candidate*, believed when
another one follows that was asked for after a while without any event: long enough for queues (microseconds)
and for a catch-up of that many revisions.

A stream that cannot be asked tells nothing while it is quiet. Then etcd is asked whether the range holds what
is held here. That it does is a candidate, too; a stream that was slower than that is found out when it
delivers what was counted as delivered, and then the range is read again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import inf

ASKS_PER_HEARTBEAT = 3
"""Each costs etcd one linearizable read of one key and one message on the stream."""

SILENT_AFTER = 0.5
"""Heartbeats that a progress request may be unanswered, with nothing else arriving, before a stream counts as
dead. Looked at with every ask, so it is noticed within one heartbeat, and half of one more where the
linearizable reads hang, too."""

UNPROVED_AFTER = 2.0
"""Heartbeats without a proof, though the stream lives and catches up with nothing; another may do better."""

CONFIRMED = 16
"""Moments that wait for their proof; readers in a hurry make many."""

IN_FLIGHT = 3
"""Progress requests; more, from readers in a hurry, would tell nothing new."""

SETTLE = 1.0
"""Seconds without an event after which a candidate is believed: etcd retries a blocked watch every 10 ms
and moves watches on that are behind every 100 ms."""

COMPARE_SHARE = 0.01
"""Share of the time that etcd may spend on comparing: it looks at every key."""

COMPARE_PAUSE_MOST = 60.0
"""Seconds; one that took very long may only have waited."""

TAKE_UP = 0.15
"""Seconds until etcd has surely looked at a new watch: it looks every 100 ms. Before, and until it is caught
up, newer versions drop progress requests."""

CATCH_UP_REVISIONS = 20_000
"""Revisions a second that etcd is trusted to look through for a watch that is behind; it sends 8,000."""


class Tick(Enum):
    """What to do now."""

    ASK = "ask"
    """Have etcd's revision confirmed, and ask the stream for its progress where that makes sense."""
    COMPARE = "compare"
    """The same, and ask etcd whether anything has changed at all; the stream cannot be asked."""
    REOPEN = "reopen"
    """Planned: this stream proves nothing any more, but a new one may."""
    SILENT = "silent"
    """The stream is dead."""


@dataclass(slots=True)
class _Candidate:
    revision: int
    quiet_since: float


class Heartbeat:
    """One stream's: opened at `now`, `behind` revisions behind etcd. Times are seconds of any one clock."""

    def __init__(self, now: float, interval: float, *, behind: int, duplex: bool, synchronised: bool) -> None:
        self._interval = interval
        self._pause = interval / ASKS_PER_HEARTBEAT
        self._duplex = duplex
        self._synchronised = synchronised
        self._behind = behind
        self._asked: deque[float] = deque()
        self._compare_at = now
        self._heard = now
        self._flowed = now
        self._proved = now
        self._confirmed: deque[tuple[float, int]] = deque()
        self._taken_up_at = now + TAKE_UP
        self._settled_at = now + SETTLE + behind / CATCH_UP_REVISIONS
        self._candidate: _Candidate | None = None
        self.next = now
        """When to call `tick`."""

    def tick(self, now: float) -> Tick:
        """What is due."""
        self.next = now + self._pause
        if now < self._taken_up_at:
            self.next = min(self.next, self._taken_up_at)
        unanswered = next((asked for asked in self._asked if asked >= self._heard), now)
        if now - unanswered >= SILENT_AFTER * self._interval:
            return Tick.SILENT
        if not self._duplex:
            return Tick.COMPARE if self._confirmed and now >= self._compare_at else Tick.ASK
        # Where etcd confirms nothing, no other stream could prove more.
        if self._confirmed and now - max(self._proved, self._flowed) >= UNPROVED_AFTER * self._interval:
            return Tick.REOPEN
        return Tick.ASK

    def ask(self, now: float) -> bool:
        """Whether to ask the stream for its progress now; the caller then does."""
        if not self._duplex or self._catching_up(now):
            return False  # catching up, it would be dropped silently from 3.4.31 and 3.5.13 on
        if self._synchronised and self._asked and self._asked[0] < min(self._heard, now - self._interval):
            self._asked.clear()  # dropped; there, nobody needs to know which answer belongs to which request
        if len(self._asked) >= IN_FLIGHT:
            return False
        self._asked.append(now)
        return True

    def confirmed(self, asked: float, revision: int) -> None:
        """etcd was at `revision` at the moment `asked`: a linearizable answer says so."""
        if len(self._confirmed) >= CONFIRMED:
            self._confirmed.pop()  # not the oldest: those are what can be proved next
        self._confirmed.append((asked, revision))

    def comparing(self, asked: float, now: float) -> None:
        """etcd was busy comparing since `asked`, whatever came of it."""
        self._compare_at = now + min((now - asked) / COMPARE_SHARE, COMPARE_PAUSE_MOST)

    def unchanged(self, asked: float, now: float, revision: int) -> int | None:
        """Asked for at `asked`, etcd held at `revision` what is held here: complete up to which revision.

        A key that came and went leaves no trace, so its events may be on the road still.
        """
        self.next = min(self.next, max(now + SETTLE, self._compare_at))
        return self._settled(asked, now, revision)

    def changed(self, now: float) -> None:
        """etcd says `now` that it holds something else: from here on the stream has to deliver it."""
        self._candidate = None
        if not (self._asked and self._asked[-1] >= self._heard):
            self._asked = deque([now])

    def proved(self, complete: int) -> float | None:
        """As of when everything up to `complete` is current; None when that proves nothing new."""
        proved = None
        while self._confirmed and self._confirmed[0][1] <= complete:
            proved = max(self._confirmed.popleft()[0], proved or -inf)
        if proved is not None:
            self._proved = max(self._proved, proved)
            self._behind = 0
        return proved

    def flows(self, now: float) -> None:
        """Bytes of something large arrived: the stream is alive, and busy."""
        self._heard = self._flowed = now

    def events(self, now: float, newest: int, *, caught_up: bool) -> None:
        """Events up to revision `newest` arrived; `caught_up`: they reach where etcd was at the opening."""
        self.flows(now)
        if caught_up:
            self._behind = 0
        candidate = self._candidate
        if candidate and newest > candidate.revision:
            self._candidate = None  # the events themselves say more now
        elif candidate:
            candidate.quiet_since = now

    def answer(self, now: float, revision: int) -> int | None:
        """A progress answer arrived: complete up to which revision."""
        self._heard = now
        asked = self._asked.popleft() if self._asked else None
        if self._synchronised:
            self._behind = 0
            return revision
        if asked is None:
            return None
        if self._confirmed:
            self.next = min(self.next, now + SETTLE)
        return self._settled(asked, now, revision)

    def _settled(self, asked: float, now: float, revision: int) -> int | None:
        """`revision` is the next candidate; the one before, if that is to be believed now."""
        before = self._candidate
        # When it was asked, not when it arrived: on a slow road answers to one moment come far apart.
        if before and asked >= before.quiet_since + SETTLE and before.quiet_since >= self._settled_at:
            self._candidate = _Candidate(revision, now)
            self._behind = 0
            return before.revision
        if before is None or before.quiet_since < self._settled_at:
            self._candidate = _Candidate(revision, now)
        return None

    def overdue(self, now: float) -> float | None:
        """Seconds since the last proof, when that is longer ago than a heartbeat."""
        unproved = now - self._proved
        return unproved if unproved > self._interval else None

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
