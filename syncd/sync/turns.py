"""When to begin a full read, so that daemons which all need one take turns. Pure but for the dice.

What makes one daemon read again (a compaction, a restore) makes all of them, and hundreds of full reads at
a time would take all of etcd's memory and time. Nobody tells a daemon how many others there are, but etcd's
answers do: each full read under way makes reading one key take some 10 ms longer (seen on 3.5.16 with one
core). So it goes as on a shared cable: wait a random moment, *listen*, which is to read one key, and begin
only when that was quick; else wait a random moment of a longer time, and listen again. However many daemons
there are, they soon are spread over as long as etcd needs for them; one that is alone need not wait long.

Rejected: one fixed spread. Over twenty times what a read takes, two hundred daemons made 176 reads at a time,
as reads that are not alone take longer; a spread for a thousand would keep one waiting for nothing.
"""

from __future__ import annotations

import random

SPREAD = 20.0
"""Times what the last full read took: over how long re-reads are spread at first."""

SPREAD_MOST = 15.0
"""Seconds over which reads are spread at most; of a thousand daemons, only a few listen at a time then."""

SPREAD_LEAST = 2.0
"""Seconds at least: after a short outage all come at once, and it takes a moment until a read is felt."""

WIDEN = 1.5
"""By how much the spread grows each time that etcd is found busy."""

QUICK = 0.03
"""Seconds for reading one key that always count as quick. It takes 1 ms, but there is other work, too."""

QUICK_TIMES = 4.0
"""Times what it usually takes count as quick, too, and times what connecting took, which is the kernels' work
and tells how long the road is: at its other end, every answer is late."""

QUICK_UNKNOWN = 0.1
"""Seconds that count as quick as long as it is not known what is usual."""

FORGET = 1.02
"""Usual is the quickest answer's time, which counts for that much more with each later one: roads change."""

RELENT = 1.2
"""By how much more counts as quick each time: also an etcd that is always slow must be read in the end."""


class Turns:
    """One mirror's turns. Times are seconds; `took` is how long it took to read one key, once connected."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._usual: float | None = None
        self._spread = 0.0
        self._leniency = 1.0

    def usual(self, took: float) -> None:
        """That long while all was well."""
        self._usual = took if self._usual is None else min(self._usual * FORGET, took)

    def needed(self, last_full_read: float) -> float:
        """How long to wait before listening, when a range must be read that is being served."""
        self._spread = min(max(SPREAD * last_full_read, SPREAD_LEAST), SPREAD_MOST)
        return self._draw.uniform(0, self._spread)

    def listened(self, took: float, road: float = 0.0) -> float | None:
        """How long to wait before listening again; None: read now. `road`: what connecting took."""
        quick = QUICK_UNKNOWN if self._usual is None else max(QUICK, QUICK_TIMES * self._usual)
        if took <= max(quick, QUICK_TIMES * road) * self._leniency:
            return None
        self._leniency *= RELENT
        self._spread = min(max(self._spread * WIDEN, SPREAD_LEAST), SPREAD_MOST)
        return self._draw.uniform(0, self._spread)

    def taken(self) -> None:
        """The range was read; the next time is another matter."""
        self._spread, self._leniency = 0.0, 1.0
