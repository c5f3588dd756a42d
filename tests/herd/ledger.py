"""What a herd does, counted where nothing is missed.

A *full read* is under way from the client's first request for it until the last byte is there (syncd's a
little longer: until the state is in the store; the one key read before is no part of it). So at every moment
at least those count that keep etcd at work; and as they are counted at each begin and end, not looked at now
and then, no peak is missed.

Requests and bytes are counted on the road to etcd. What was tried while nothing listened there is no request,
but a connection.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.proxy import Proxy

METHODS = (b"POST ", b"GET ")


class Road(Proxy):
    """The way to etcd, which counts what goes over it."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.requests = 0
        """HTTP requests and, on open watches, progress requests."""

    @property
    def transferred(self) -> int:
        """Bytes passed on, both ways."""
        return self.bytes_up + self.bytes_down

    def allows(self, chunk: bytes, onward: StreamWriter) -> bool:
        """Count; everything may pass."""
        # A request is sent when the one before was answered, so it is the beginning of a chunk.
        self.requests += chunk.startswith(METHODS) + chunk.count(b"progress_request")
        return True

    def begin(self) -> None:
        """Count anew."""
        self.connections = self.requests = self.bytes_up = self.bytes_down = 0


class Ledger:
    """Counts from the last `lost` on. Times are the event loop's seconds."""

    def __init__(self) -> None:
        self.reading = 0
        """Full reads under way, or tried."""
        self._changed = asyncio.Event()
        self.lost()
        self.found()

    def lost(self) -> None:
        """etcd goes away: nobody is live, and trying to read is no read, as etcd doesn't see it."""
        self._away = True
        self.lost_at = self.found_at = _now()
        self.most = 0
        """Full reads under way at a time, at most."""
        self.read = 0
        """Full reads that came to their end."""
        self.live_at: dict[int, float] = {}
        """Who is live, and since when."""

    def found(self) -> None:
        """etcd can be reached; who is trying to read just now may get through."""
        self._away = False
        self.most = self.reading
        self.found_at = _now()

    @contextmanager
    def full_read(self) -> Iterator[None]:
        """One full read."""
        self.reading += 1
        if not self._away:
            self.most = max(self.most, self.reading)
        try:
            yield
            self.read += 1
        finally:
            self.reading -= 1
            self._changed.set()

    def live(self, number: int) -> None:
        """Client `number` holds what etcd holds now, and hears of each change."""
        self.live_at.setdefault(number, _now())
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the ledger's `condition` holds; looked at whenever that may have changed."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
