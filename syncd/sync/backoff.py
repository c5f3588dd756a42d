"""How long to wait before trying again: exponential, with full jitter."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST = 0.1
CAP = 30.0
FACTOR = 2.0

HEALTHY_AFTER = 10.0
"""Seconds without a failure, in one stream or in several, before the next one counts as the first again."""


def backoff(draw: random.Random) -> Iterator[float]:
    """Delays in seconds, each drawn evenly from zero to a limit that doubles from FIRST to CAP.

    From zero: a thousand daemons that lose etcd at the same instant must not come back together.
    """
    limit = FIRST
    while True:
        yield draw.uniform(0, limit)
        limit = min(limit * FACTOR, CAP)
