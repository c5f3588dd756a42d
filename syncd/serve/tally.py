"""What happens again and again, told once a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

TELL_AGAIN = 60.0
"""Seconds between two lines about the same."""

log = structlog.get_logger("syncd.serve")


class Tally:
    """Tells the log of the first at once, and of those that follow together, when the next comes in time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def tell(self, event: str, **fields: object) -> None:
        """It happened; `fields` are those of this time, `count` how often since it was told."""
        self._untold[event] += 1
        now = self._clock()
        if event not in self._told_at or now - self._told_at[event] >= TELL_AGAIN:
            log.warning(event, count=self._untold.pop(event), **fields)
            self._told_at[event] = now
