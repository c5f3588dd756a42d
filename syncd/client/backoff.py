"""How long to wait before the next attempt to reach a daemon. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterator

FIRST_DELAY = 0.1
"""Seconds; a daemon that is restarted is back within about so many."""

LONGEST_DELAY = 2.0
"""Seconds; a failed attempt costs one connect() on this machine."""


def delays() -> Iterator[float]:
    """Yield seconds to wait before attempts: growing, with full jitter, for many may wait for one daemon."""
    longest = FIRST_DELAY
    while True:
        yield longest * _chance()
        longest = min(longest * 2, LONGEST_DELAY)


def spread(seconds: float) -> float:
    """Return once to twice as many, so that not all who were told to wait come back at once."""
    return seconds * (1 + _chance())


def _chance() -> float:
    # The module `random` costs more to import than all of this package's protocol, and a forked child would
    # draw the same numbers as its brothers.
    return int.from_bytes(os.urandom(4)) / 2**32
