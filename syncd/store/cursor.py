"""A reader's place in the changes of a range.

A reader has no queue: all share the history, and each has only a place in it. So a reader that does
not read costs nothing and holds up nobody. When the history no longer reaches back to its place, it gets one
`resync` batch instead: the records changed since, found by their mod_revision, and the keys deleted
since, which are remembered longer than whole events. Past that, HistoryLost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from syncd.keyrange import KeyRange
from syncd.records import Batch, Event, Record
from syncd.store.blocks import BLOCK_RECORDS, each
from syncd.store.errors import HistoryLost

if TYPE_CHECKING:
    from syncd.store.store import Store, View


READ_SIZE = 1 << 20
"""Bytes of batches, as the history counts, that a reader takes at a time: it holds them while it sends."""


@dataclass(frozen=True, slots=True)
class Resync:
    """A `resync` batch whose events are made as they are asked for, a block's worth at a time."""

    revision: int
    epoch: str
    chunks: Iterator[list[Event]]


class Cursor:
    """Reads the batches of a store one after the other; `keys` is what a resync batch is limited to."""

    def __init__(self, store: Store, keys: KeyRange, sequence: int, revision: int) -> None:
        self._store = store
        self._keys = keys
        self._sequence = sequence
        self._revision = revision
        self._epoch = store.epoch

    @property
    def revision(self) -> int:
        """Everything up to this revision was read."""
        return self._store.revision if self.at_end else self._revision

    @property
    def at_end(self) -> bool:
        """Whether there is nothing more to read now."""
        return self._sequence == self._store.history.end

    @property
    def epoch(self) -> str:
        """The epoch of `revision`."""
        return self._epoch

    @property
    def behind(self) -> bool:
        """Whether the history no longer reaches back to here: then `resync` gives what comes next."""
        return self._sequence < self._store.history.first

    def read(self, limit: int) -> list[Batch]:
        """The next batches, `limit` at most; none when there is nothing new. HistoryLost: see above."""
        if self.behind:
            resync = self.resync()
            events = tuple(chain.from_iterable(resync.chunks))
            return [Batch(resync.revision, events, resync.epoch, resync=True)]
        batches = self._store.history.since(self._sequence, limit, READ_SIZE)
        self._sequence += len(batches)
        if batches:
            self._revision = batches[-1].revision
            self._epoch = batches[-1].epoch
        else:
            self._revision = self.revision
        return batches

    def resync(self) -> Resync:
        """The difference between this place and now, which then is the place; HistoryLost: see above."""
        store = self._store
        if self._sequence < store.graves.floor:
            raise HistoryLost(self._revision, store.history.oldest_revision)
        # Revisions of another epoch cannot be compared: then everything counts as changed.
        since = self._revision if self._epoch == store.epoch else 0
        gone = [key for key in store.graves.since(self._sequence) if key in self._keys]
        view = store.view()
        self._sequence, self._revision, self._epoch = store.history.end, view.revision, view.epoch
        return Resync(view.revision, view.epoch, _difference(view, self._keys, since, gone))


def _difference(view: View, keys: KeyRange, since: int, gone: list[bytes]) -> Iterator[list[Event]]:
    for block, low, high in view.slices(keys):
        if max(block.mod_revisions()) > since:
            yield [Event(record) for record in each([(block, low, high)]) if record.mod_revision > since]
    for start in range(0, len(gone), BLOCK_RECORDS):
        yield [
            Event(Record(key, mod_revision=view.revision), deleted=True)
            for key in gone[start : start + BLOCK_RECORDS]
        ]
