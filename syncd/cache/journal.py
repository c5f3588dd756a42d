"""What stands in a file's journal: how much it is, and how much of it is still needed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """One batch, as it is written."""

    revision: int
    events: int
    content: bytes
    """Behind its digest."""


class Journal:
    """All batches after `oldest_revision`; of them, `events` and `bytes` are counted since `count_anew`."""

    def __init__(self, oldest_revision: int) -> None:
        self.oldest_revision = oldest_revision
        self.events = self.bytes = 0
        self._batches: deque[tuple[int, int, int]] = deque()
        """The revision, events and bytes of each."""
        self._events = self._bytes = 0

    def append(self, entries: Iterable[Entry]) -> None:
        """There are more."""
        for revision, events, content in entries:
            self._batches.append((revision, events, len(content)))
            self._events += events
            self._bytes += len(content)
            self.events += events
            self.bytes += len(content)

    def count_anew(self) -> None:
        """What was counted is dealt with."""
        self.events = self.bytes = 0

    def forget(self, until: int, events: int, size: int) -> int:
        """Forget batches up to `until`, but not the last `events` or `size` bytes; the last one forgotten."""
        while self._batches and self._batches[0][0] <= until:
            revision, of_it, bytes_of_it = self._batches[0]
            if self._events - of_it < events and self._bytes - bytes_of_it < size:
                break
            self._batches.popleft()
            self._events -= of_it
            self._bytes -= bytes_of_it
            self.oldest_revision = revision
        return self.oldest_revision
