"""The mirror of one range: its records at one revision, and its recent past."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice

from syncd.keyrange import KeyRange
from syncd.records import Batch, Event, Record
from syncd.store.blocks import Block, Blocks
from syncd.store.cursor import Cursor
from syncd.store.errors import Contradiction, HistoryLost, OutOfOrder
from syncd.store.graves import Graves
from syncd.store.history import EVENT_COST, History, cost
from syncd.store.image import Image
from syncd.store.rebuild import Rebuild

WITNESSES = 8
"""Keys that must all have the same last change in two histories for one to be taken for the other."""


WITNESS_BYTES = 256 << 10
"""Together they must fit into one answer, also of an etcd that has to stay below 4 MiB."""


class View:
    """A range exactly as it was at one revision, for as long as somebody holds it."""

    def __init__(self, blocks: Blocks, revision: int, epoch: str) -> None:
        self._blocks = blocks
        self.revision = revision
        self.epoch = epoch

    def get(self, key: bytes) -> Record | None:
        """The record of `key`, None when there is none."""
        return self._blocks.get(key)

    def slices(self, keys: KeyRange, most: int | None = None) -> list[tuple[Block, int, int]]:
        """The parts of blocks that make up an interval, in key order: (block, first index, past the last).

        With `most`, as many of them as so many records take.
        """
        return self._blocks.slices(keys, most)

    def count(self, keys: KeyRange) -> int:
        """The number of keys in an interval."""
        return self._blocks.count_of(keys)

    @property
    def blocks(self) -> Sequence[Block]:
        """All of it, in key order; not to be changed."""
        return self._blocks.blocks


class Store:
    """The records of `keys`, changed in whole revisions, and the batches that did it.

    Everything that changes it either takes effect completely or raises and changes nothing. `epoch` is
    empty as long as there is nothing to serve.
    """

    def __init__(self, keys: KeyRange, *, history_events: int, history_bytes: int) -> None:
        self.keys = keys
        self.epoch = ""
        self.revision = 0
        """The state is etcd's at this revision."""
        self.changed_revision = 0
        """The revision of the last change of anything in the range."""
        self.history = History(history_events, history_bytes)
        self.graves = Graves(history_events)
        self._changed: deque[bytes] = deque(maxlen=WITNESSES)
        self._blocks = Blocks([])
        self._shared = False
        self._listeners: set[Callable[[], None]] = set()

    @property
    def ready(self) -> bool:
        """Whether there is something to serve."""
        return self.epoch != ""

    @property
    def count(self) -> int:
        """The number of keys."""
        return self._blocks.count

    @property
    def size(self) -> int:
        """Bytes of keys and values."""
        return self._blocks.size

    def get(self, key: bytes) -> Record | None:
        """The record of `key` now."""
        return self._blocks.get(key)

    @property
    def changed_keys(self) -> tuple[bytes, ...]:
        """The keys that changed last, oldest first; perhaps some are gone."""
        return tuple(self._changed)

    def witnesses(self) -> dict[bytes, Record | None]:
        """What tells this history from another: the keys that changed last, None for those that are gone.

        As many as fit into WITNESS_BYTES, and one.
        """
        found: dict[bytes, Record | None] = {}
        size = 0
        for key in reversed(self._changed):
            record = self.get(key)
            size += len(key) + (len(record.value) if record else 0)
            if found and size > WITNESS_BYTES:
                break
            found[key] = record
        return found

    def view(self) -> View:
        """The state now."""
        self._shared = True
        return View(self._blocks, self.revision, self.epoch)

    def past(self, revision: int) -> Callable[[], View]:
        """What makes a view of an earlier revision of this epoch; HistoryLost when it is too long ago.

        To be called at any time, also in another thread: it costs as much as applying what happened since.
        """
        first = self.history.sequence_after(revision)
        batches = self.history.since(first, self.history.end - first)
        blocks, epoch, revision = self._blocks.copy(), self.epoch, min(revision, self.revision)

        def made() -> View:
            undone: dict[bytes, Record | None] = {}
            for batch in reversed(batches):
                for event in reversed(batch.events):
                    undone[event.kv.key] = event.prev
            # In portions: sorting all of it would stop the other threads, too, for a tenth of a second.
            items = iter(undone.items())
            portions = iter(lambda: sorted(islice(items, 4096)), [])
            blocks.apply(list(merge(*portions)))
            return View(blocks, revision, epoch)

        return made

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change of state or revision; returns the way to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def cursor(self, keys: KeyRange, revision: int | None = None, epoch: str | None = None) -> Cursor:
        """A reader's place: after `revision` of `epoch`, by default after what is held now.

        HistoryLost when that is too long ago, in an epoch that is over, or yet to come.
        """
        if revision is None:
            return Cursor(self, keys, self.history.end, self.revision)
        if revision > self.revision or (epoch is not None and epoch != self.epoch):
            raise HistoryLost(revision, self.history.oldest_revision)
        return Cursor(self, keys, self.history.sequence_after(revision), revision)

    def restore(self, image: Image) -> None:
        """Begin with what a store held that is gone; ValueError when that is not whole."""
        blocks = Blocks(list(image.blocks))
        blocks.apply(image.changes())
        if blocks.count != image.count:
            raise ValueError(f"{blocks.count} keys were restored, {image.count} were saved")
        self.history.begin(image.oldest_revision)
        for batch in image.batches:
            self._remember(batch, sum(map(cost, batch.events)))
        self._blocks, self._shared = blocks, False
        self._changed.extend(image.changed_keys)
        self.revision, self.epoch = image.revision, image.epoch
        self.changed_revision = image.changed_revision
        self.wake()

    def rebuild(self, revision: int, epoch: str) -> Rebuild:
        """Begin to take in a full read; nothing is visible before `commit`."""
        self._shared = True
        held = self.revision if epoch == self.epoch else 0
        return Rebuild(self.keys, self._blocks, revision, epoch, first=not self.ready, held=held)

    def commit(self, rebuild: Rebuild) -> Batch | None:
        """Make a finished full read the state, in one step; the announced gap, if there is one."""
        first, moved = not self.ready, rebuild.epoch != self.epoch
        passed = rebuild.revision > self.revision
        if not moved and rebuild.revision < self.revision:
            raise OutOfOrder(f"a read of revision {rebuild.revision} after revision {self.revision}")
        if not rebuild.finished:
            raise ValueError("a read that was not compared to its end would lose keys")
        if rebuild.old is not self._blocks:
            raise OutOfOrder("the state has changed since this read began to be compared with it")
        if moved:
            self.history.begin(rebuild.revision)
        else:
            self.history.skip(self.revision, rebuild.revision)
        self._blocks, self._shared = Blocks(rebuild.blocks), False
        self.revision, self.epoch = rebuild.revision, rebuild.epoch
        self._changed.clear()
        if rebuild.newest is not None:
            self._changed.append(rebuild.newest)
        if first or moved or rebuild.events:
            self.changed_revision = rebuild.revision
        batch = None
        if not first and (moved or passed):
            # Told even when nothing differs: what came and went in between is lost to those who watch.
            batch = Batch(rebuild.revision, tuple(rebuild.events), rebuild.epoch, resync=True)
            self._remember(batch, rebuild.size or EVENT_COST)  # an empty one takes some room, too
        self.wake()
        return batch

    def apply(self, revision: int, changes: Sequence[Event]) -> Batch:
        """Take in all that `revision` changed; `prev` of the events is filled in here.

        OutOfOrder or Contradiction when that cannot be what came next.
        """
        if revision <= self.revision:
            raise OutOfOrder(f"an event of revision {revision} after revision {self.revision}")
        events, new = [], {}
        for change in changes:
            kv = change.kv
            if kv.mod_revision != revision or kv.key not in self.keys or kv.key in new:
                raise OutOfOrder(
                    f"an event of key {kv.key!r}, revision {kv.mod_revision}, within revision {revision}"
                )
            prev = self._blocks.get(kv.key)
            _must_follow(kv, prev, deleted=change.deleted)
            new[kv.key] = None if change.deleted else kv
            events.append(Event(kv, deleted=change.deleted, prev=prev))
        if self._shared:
            self._blocks, self._shared = self._blocks.copy(), False
        self._blocks.apply(sorted(new.items()))
        batch = Batch(revision, tuple(events), self.epoch)
        self.revision = revision
        self._changed.extend(new)
        self.changed_revision = revision
        self._remember(batch, sum(map(cost, events)))
        self.wake()
        return batch

    def advance(self, revision: int) -> None:
        """etcd says that nothing happened up to `revision`."""
        if revision > self.revision:
            self.revision = revision
            self.wake()

    def _remember(self, batch: Batch, size: int) -> None:
        self.graves.note(batch, self.history.end)
        self.history.append(batch, size)

    def wake(self) -> None:
        """Call every listener."""
        for listener in tuple(self._listeners):
            listener()


def _must_follow(kv: Record, prev: Record | None, *, deleted: bool) -> None:
    """Contradiction unless etcd, holding `prev`, could have made `kv` of it.

    etcd counts a key's changes (`version`) since its creation, so a lost event cannot go unnoticed.
    """
    if deleted:
        follows = prev is not None
    elif prev is None:
        follows = kv.version == 1 and kv.create_revision == kv.mod_revision
    else:
        follows = kv.version == prev.version + 1 and kv.create_revision == prev.create_revision
    if not follows:
        held = f"version {prev.version} of revision {prev.mod_revision}" if prev else "nothing"
        what = "a delete" if deleted else f"version {kv.version}"
        raise Contradiction(
            f"key {kv.key!r}: {what} at revision {kv.mod_revision}, but {held} is held; an event was lost"
        )
