"""A full read being compared, page by page, with what is held.

The new state is built aside and becomes visible in one step (`Store.commit`). Blocks that come out
the same are taken over from the old state, so a re-read of an unchanged range costs no memory, keeps
every encoded form, and finds no events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter, lt

from syncd.keyrange import KeyRange
from syncd.records import Event, Record
from syncd.store.blocks import BLOCK_RECORDS, Block, Blocks, cut, each
from syncd.store.errors import OutOfOrder

_key = attrgetter("key")
_mod_revision = attrgetter("mod_revision")


class Rebuild:
    """The state of a range at `revision` in the making; `blocks` and `events` are complete after `finish`."""

    def __init__(self, keys: KeyRange, old: Blocks, revision: int, epoch: str, *, first: bool) -> None:
        self.revision = revision
        self.epoch = epoch
        self.blocks: list[Block] = []
        self.events: list[Event] = []
        """The difference from the old state; none for the `first` read: there is nobody to tell."""
        self.count = 0
        self.old = old
        self._keys = keys
        self._first = first
        self._at = 0
        self._pending: list[Record] = []
        self._last: bytes | None = None

    def add(self, records: Sequence[Record]) -> None:
        """The next records of the range in key order; OutOfOrder for anything else."""
        if not records:
            return
        self._check(list(map(_key, records)), list(map(_mod_revision, records)))
        self._pending += records
        self._take_complete()

    def add_block(self, block: Block) -> None:
        """The same for records that are a block already: `add`, but where nothing was before, at no cost."""
        if self.old.blocks or not self._first:
            self.add(list(each([(block, 0, len(block))])))
            return
        self._check(block.keys, block.mod_revisions())
        self.blocks += cut(self._pending)
        self._pending.clear()
        self.blocks.append(block)

    def _check(self, keys: Sequence[bytes], revisions: Sequence[int]) -> None:
        before = [self._last or b"", *keys]
        if not all(map(lt, before, keys)) or keys[0] not in self._keys or keys[-1] not in self._keys:
            raise OutOfOrder(
                f"keys {keys[0]!r} to {keys[-1]!r} after {self._last!r} in a read of {self._keys.name!r}"
            )
        if min(revisions) < 1 or max(revisions) > self.revision:
            raise OutOfOrder(
                f"keys {keys[0]!r} to {keys[-1]!r} have revisions {min(revisions)} to {max(revisions)} "
                f"in a read of revision {self.revision}"
            )
        self._last = keys[-1]
        self.count += len(keys)

    def finish(self) -> None:
        """There are no more records."""
        old = self.old.blocks
        if old:
            for _ in range(self._at, len(old) - 1):
                self._take(self._up_to(self.old.firsts[self._at + 1]))
            self._take(self._pending)
        else:
            self._take_new(self._pending)
        self._pending = []

    def _take_complete(self) -> None:
        old, firsts = self.old.blocks, self.old.firsts
        while self._pending and self._at + 1 < len(old) and self._pending[-1].key >= firsts[self._at + 1]:
            self._take(self._up_to(firsts[self._at + 1]))
        if not old:
            complete = len(self._pending) - len(self._pending) % BLOCK_RECORDS
            self._take_new(self._pending[:complete])
            del self._pending[:complete]

    def _up_to(self, key: bytes) -> list[Record]:
        stop = bisect_left(self._pending, key, key=_key)
        taken = self._pending[:stop]
        del self._pending[:stop]
        return taken

    def _take_new(self, records: list[Record]) -> None:
        """There was nothing before `records`."""
        self.blocks += cut(records)
        if not self._first:
            self.events += map(Event, records)

    def _take(self, records: list[Record]) -> None:
        """`records` are what is now where the old block `_at` was."""
        before = self.old.blocks[self._at]
        self._at += 1
        # Compared whole: the old block may have grown past what `cut` would make of the same records.
        if len(records) == len(before) and Block.of(records) == before:
            self.blocks.append(before)
            return
        self.blocks += cut(records)
        old = {record.key: record for record in each([(before, 0, len(before))])}
        for record in records:
            prev = old.pop(record.key, None)
            if prev != record:
                self.events.append(Event(record, prev=prev))
        for key, prev in old.items():
            self.events.append(Event(Record(key, mod_revision=self.revision), deleted=True, prev=prev))
