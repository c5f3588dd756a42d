"""What is remembered of each endpoint, and which one is asked. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DUPLEX_RETRY = 300.0
"""Seconds for which a refused duplex stream is remembered: the member may have been slow just then, and
proxies get reconfigured."""


@dataclass(slots=True)
class Endpoint:
    """One etcd gateway: its URL and what it was found to be."""

    url: str
    prefix: str | None = None
    """The path prefix that its gateway answers to, such as /v3; None until asked."""
    version: str = ""
    """etcd's version as it tells it; empty when unknown."""
    duplex_refused_at: float | None = None
    """When (event-loop seconds) a duplex stream got no answer although a plain one did."""
    failures: int = 0
    """Failures in a row."""
    error: str = ""
    """What the last failure was."""
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

    def try_duplex(self, now: float) -> bool:
        """Whether a duplex stream is worth trying."""
        return self.duplex_refused_at is None or now - self.duplex_refused_at > DUPLEX_RETRY

    def forget(self) -> None:
        """Forget what another server at the same address would answer differently."""
        self.prefix = None
        self.version = ""


class Endpoints:
    """The configured endpoints and which of them is asked now.

    The first one is drawn at random, so that a thousand daemons with one configuration spread over the
    members. All calls and streams go to the same member as long as it answers.
    """

    def __init__(self, urls: Sequence[str], draw: random.Random) -> None:
        self._all = [Endpoint(url.rstrip("/")) for url in urls]
        self._current = draw.randrange(len(self._all))

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._all)

    @property
    def current(self) -> Endpoint:
        """The endpoint to ask."""
        return self._all[self._current]

    def at(self, url: str) -> Endpoint:
        """The endpoint with this URL."""
        return next(endpoint for endpoint in self._all if endpoint.url == url)

    def failed(self, endpoint: Endpoint, error: str) -> None:
        """`endpoint` did not answer, as `error` tells: go on with the next one.

        Calls that fail late, after another call already moved on, move nothing.
        """
        endpoint.failures += 1
        endpoint.error = error
        endpoint.forget()
        if endpoint is self.current:
            self._current = (self._current + 1) % len(self._all)


def parse_version(text: str) -> tuple[int, int, int]:
    """`3.5.16` → (3, 5, 16); anything else → (0, 0, 0)."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
