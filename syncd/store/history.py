"""The last batches of a range, bounded in events and bytes.

Batches are numbered as they come (`sequence`), because revisions are not enough: after etcd was
restored from a backup they begin again lower. A reader's place is a sequence number; a revision is
translated into one only within the current epoch.
"""

from __future__ import annotations

from bisect import bisect_right

from syncd.records import Batch, Event
from syncd.store.errors import HistoryLost

EVENT_COST = 250
"""Bytes that an event costs beside its keys and values: three small objects and five integers."""


class History:
    """Batches `first` to `end` - 1; the newest one is always kept."""

    def __init__(self, events: int, size: int) -> None:
        self.first = 0
        self.events = 0
        self.size = 0
        self._max_events = events
        self._max_size = size
        self._batches: list[Batch] = []
        self._revisions: list[int] = []
        self._sizes: list[int] = []
        self._gone = 0  # entries at the front of the lists that are evicted, but not yet cut off
        self._epoch_first = 0
        self._floor = 0
        self._gaps: list[tuple[int, int]] = []

    @property
    def end(self) -> int:
        """The sequence number that the next batch will get."""
        return self.first + len(self._batches) - self._gone

    @property
    def oldest_revision(self) -> int:
        """The oldest revision of the current epoch after which every batch is kept."""
        return self._floor

    def begin(self, revision: int) -> None:
        """A new epoch, or the first one, starts at `revision`: nothing before can be resumed from."""
        self._epoch_first = self.end
        self._floor = revision
        self._gaps = []

    def skip(self, before: int, after: int) -> None:
        """The range was held at `before` and then at `after`; what it was between is not known."""
        self._gaps = [gap for gap in self._gaps if gap[1] > self._floor]
        self._gaps.append((before, after))

    def append(self, batch: Batch, size: int) -> None:
        """Add the newest batch, of `size` bytes by `cost`, and let go of the oldest ones past the bounds."""
        self._batches.append(batch)
        self._revisions.append(batch.revision)
        self._sizes.append(size)
        self.events += len(batch.events)
        self.size += size
        while (self.events > self._max_events or self.size > self._max_size) and self.end - self.first > 1:
            self._evict()
        if self._gone > 64 and self._gone * 2 > len(self._batches):
            # Seldom and by halves: cutting a list at its front moves the whole rest.
            del self._batches[: self._gone], self._revisions[: self._gone], self._sizes[: self._gone]
            self._gone = 0

    def since(self, sequence: int, limit: int, size: int | None = None) -> list[Batch]:
        """From `sequence` (at least `first`) on at most `limit` batches, past the first one `size` bytes."""
        start = sequence - self.first + self._gone
        stop = min(start + limit, len(self._batches))
        if size is not None:
            for at in range(start, stop):
                size -= self._sizes[at]
                if size < 0:
                    return self._batches[start : max(at, start + 1)]
        return self._batches[start:stop]

    def tail(self, events: int, size: int) -> tuple[list[Batch], int]:
        """The newest batches without a gap, within these bounds, and the revision that they follow on."""
        at, least = len(self._batches), max(self._epoch_first - self.first, 0) + self._gone
        while at > least:
            batch = self._batches[at - 1]
            events -= len(batch.events)
            size -= self._sizes[at - 1]
            if batch.resync or events < 0 or size < 0:
                return self._batches[at:], batch.revision
            at -= 1
        return self._batches[at:], self._floor

    def sequence_after(self, revision: int) -> int:
        """The sequence number of the first batch after `revision` of the current epoch, or HistoryLost."""
        if revision < self._floor:
            raise HistoryLost(revision, self._floor)
        for before, after in self._gaps:
            if before < revision < after:
                # What a reader held then was never seen here: nobody knows what it lacks.
                raise HistoryLost(revision, after)
        low = max(self._epoch_first - self.first, 0) + self._gone
        return bisect_right(self._revisions, revision, low) - self._gone + self.first

    def _evict(self) -> None:
        batch = self._batches[self._gone]
        self._batches[self._gone] = _EVICTED
        self.events -= len(batch.events)
        self.size -= self._sizes[self._gone]
        self._gone += 1
        if self.first >= self._epoch_first:
            self._floor = batch.revision
        self.first += 1


_EVICTED = Batch(0, (), "")


def cost(event: Event) -> int:
    """Bytes that keeping `event` takes."""
    kv, prev = event.kv, event.prev
    return EVENT_COST + len(kv.key) + len(kv.value) + (len(prev.value) if prev else 0)
