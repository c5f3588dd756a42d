"""What is remembered of each endpoint, and which one is asked. Pure.

An endpoint that failed is in *quarantine*: others are asked as long as there are any. Its time there doubles
with each further failure. Then it is probed (probe.py), and leaves when it is found well, or when a call
succeeds there because all others fail, too. That is never waited for: when all are in quarantine, the
one is asked whose time ends first.

The first endpoint is drawn at random, so that a thousand daemons with one configuration spread over the
members; it is this daemon's *home*. After a rolling restart nobody is left at the member that was
restarted last; so everybody goes home again when home has been well for some minutes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

DUPLEX_RETRY = 300.0
DUPLEX_RETRY_MOST = 86_400.0
"""Seconds for which a refused duplex stream is remembered, doubled each time: the member may have been slow
just then, and proxies get reconfigured; but each try keeps the watch waiting for some seconds."""

QUARANTINE_FIRST = 1.0
QUARANTINE_MOST = 60.0
"""Seconds; each is drawn between half and all of its limit, so that the probes of many daemons spread."""

HOME_AFTER = 300.0
"""Seconds for which home must have been well; drawn between that and twice as much, so that a thousand
daemons don't move at once."""


@dataclass(slots=True)
class Endpoint:
    """One etcd gateway: its URL and what it was found to be. Times are event-loop seconds."""

    url: str
    prefix: str | None = None
    """The path prefix that its gateway answers to, such as /v3; None until asked."""
    version: str = ""
    """etcd's version as it tells it; empty when unknown."""
    member_id: int = 0
    """Which member told that: behind one URL there may be several. 0 when unknown."""
    duplex_refused_at: float = -inf
    """When a duplex stream got no answer although a plain one did, the last time."""
    duplex_refusals: int = 0
    """How many times in a row."""
    failures: int = 0
    """Failures in a row, of calls, streams and probes."""
    unserved: int = 0
    """Failures since a call or stream succeeded: a passed probe does not prove that those will, too."""
    error: str = ""
    """What the last failure was."""
    failed_at: float = -inf
    quarantined_until: float | None = None
    """When to probe it; None when it is well, for all that is known."""
    announced: tuple[str, str] | None = None
    """The version and prefix that the log was told last."""

    @property
    def synchronised(self) -> bool:
        """Whether the answer to a progress request comes after all events up to its revision.

        So from 3.4.25 and 3.5.8 on (etcd's changelog); before, it may overtake events. An unknown
        version counts as old.
        """
        version = parse_version(self.version)
        return version >= (3, 5, 8) or (3, 4, 25) <= version < (3, 5, 0)

    @property
    def well(self) -> bool:
        """Whether it is not in quarantine."""
        return self.quarantined_until is None

    def try_duplex(self, now: float) -> bool:
        """Whether a duplex stream is worth trying."""
        if not self.duplex_refusals:
            return True
        pause = min(DUPLEX_RETRY * 2.0 ** min(self.duplex_refusals - 1, 32), DUPLEX_RETRY_MOST)
        return now - self.duplex_refused_at > pause

    def duplex_tried(self, now: float, began: float, *, refused: bool) -> None:
        """A duplex stream was asked for at `began`, and a stream is there: that one, or a plain one instead.

        Ten that were refused at a time are one refusal.
        """
        if not refused:
            self.duplex_refusals, self.duplex_refused_at = 0, -inf
        elif began > self.duplex_refused_at:
            self.duplex_refusals, self.duplex_refused_at = self.duplex_refusals + 1, now

    def forget(self) -> None:
        """Forget what another server at the same address would answer differently."""
        self.prefix = None
        self.version = ""
        self.member_id = 0


class Endpoints:
    """The configured endpoints and which of them is asked now: all calls and streams go to the same one.

    `began` is when a call or stream that ended now was begun: what it tells may be overtaken.
    """

    def __init__(self, urls: Sequence[str], draw: random.Random) -> None:
        self._all = [Endpoint(url) for url in urls]
        self._draw = draw
        self.home = draw.choice(self._all)
        """The endpoint that was drawn first."""
        self._home_from = -inf
        self.current = self.home
        """The endpoint that is asked."""

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def at(self, url: str) -> Endpoint:
        """The endpoint with this URL."""
        return next(endpoint for endpoint in self._all if endpoint.url == url)

    def choose(self, now: float) -> Endpoint:
        """The endpoint to ask now, which goes home when it is time to."""
        if self.homeward(self.current, now):
            self.current = self.home
        return self.current

    def homeward(self, endpoint: Endpoint, now: float) -> bool:
        """Whether a stream at `endpoint` had better be opened anew: at home, which has been well for long."""
        return endpoint is not self.home and self.home.well and now >= self._home_from

    def failed(self, endpoint: Endpoint, error: str, now: float, began: float) -> bool:
        """`endpoint` did not answer, or not well, as `error` tells; whether that is news.

        It goes into quarantine, or stays there for longer, and another one is asked. Ten calls that hang
        there and fail one after the other are one failure, also when it was found well meanwhile.
        """
        if began < endpoint.failed_at:
            return False
        was_well = endpoint.well
        endpoint.failures += 1
        endpoint.unserved += 1
        endpoint.error = error
        endpoint.failed_at = now
        endpoint.quarantined_until = now + quarantine(endpoint.unserved, self._draw)
        endpoint.forget()
        if endpoint is self.current:
            self.current = self._best()
        return was_well

    def succeeded(self, endpoint: Endpoint, now: float, began: float) -> bool:
        """A call or stream was answered; whether it is news that `endpoint` is well."""
        if began < endpoint.failed_at:
            return False
        endpoint.unserved = 0
        return self.passed(endpoint, now, began)

    def passed(self, endpoint: Endpoint, now: float, began: float) -> bool:
        """A probe found `endpoint` well; whether that is news."""
        if endpoint.well or began < endpoint.failed_at:
            return False
        endpoint.failures = 0
        endpoint.quarantined_until = None
        if endpoint is self.home:
            self._home_from = now + HOME_AFTER * self._draw.uniform(1, 2)
        if not self.current.well:
            self.current = endpoint
        return True

    def _best(self) -> Endpoint:
        well = [endpoint for endpoint in self._all if endpoint.well]
        if well:
            # Not simply the next one, which would get all the daemons of the one that failed.
            return self._draw.choice(well)
        return min(self._all, key=lambda endpoint: endpoint.quarantined_until or 0.0)


def quarantine(failures: int, draw: random.Random) -> float:
    """Seconds in quarantine after that many failures."""
    limit = min(QUARANTINE_FIRST * 2.0 ** min(failures - 1, 32), QUARANTINE_MOST)
    return limit * draw.uniform(0.5, 1)


def parse_version(text: str) -> tuple[int, int, int]:
    """`3.5.16` → (3, 5, 16); anything else → (0, 0, 0)."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
