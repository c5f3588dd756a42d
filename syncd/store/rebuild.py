"""A full read being compared, page by page, with what is held.

The new state is built aside and becomes visible in one step (`Store.commit`). Blocks that come out
the same are taken over from the old state, so a re-read of an unchanged range costs no memory, keeps
every encoded form, and finds no events. Comparing is work; it is done in small steps, so that whoever drives
this can give way to others in between: `while rebuild.step(): …` after each `add` and after `end`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import attrgetter, lt

from syncd.keyrange import KeyRange
from syncd.records import Event, Record
from syncd.store.blocks import BLOCK_RECORDS, Block, Blocks, cut, each
from syncd.store.errors import OutOfOrder, Rewritten
from syncd.store.history import cost

_key = attrgetter("key")
_mod_revision = attrgetter("mod_revision")


class Rebuild:
    """The state of a range at `revision` in the making; when `finished`, `blocks` and `events` are it."""

    def __init__(
        self, keys: KeyRange, old: Blocks, revision: int, epoch: str, *, first: bool, held: int = 0
    ) -> None:
        """`held`: the revision of the old state, if it is of the same epoch; Rewritten when it is not."""
        self.revision = revision
        self.epoch = epoch
        self.blocks: list[Block] = []
        self.events: list[Event] = []
        """The difference from the old state; none for the `first` read: there is nobody to tell."""
        self.size = 0
        """Bytes that keeping the events takes."""
        self.newest: bytes | None = None
        """The key of the highest mod_revision."""
        self.count = 0
        self.old = old
        self._keys = keys
        self._first = first
        self._held = held
        self._at = 0
        self._pending: list[Record] = []
        self._last: bytes | None = None
        self._ended = False
        self._highest = 0

    def add(self, records: Sequence[Record]) -> None:
        """The next records of the range in key order; OutOfOrder for anything else."""
        if not records:
            return
        self._check(list(map(_key, records)), list(map(_mod_revision, records)))
        self._pending += records

    def add_block(self, block: Block) -> None:
        """The same for records that are a block already: `add`, but where nothing was before, at no cost."""
        if not self._first:
            self.add(list(each([(block, 0, len(block))])))
            return
        self._check(block.keys, block.mod_revisions())
        self.blocks += cut(self._pending)
        self._pending.clear()
        self.blocks.append(block)

    def end(self) -> None:
        """There are no more records."""
        self._ended = True

    @property
    def finished(self) -> bool:
        """Whether all was taken in."""
        return self._ended and not self._pending and self._at == len(self.old.blocks)

    def step(self) -> bool:
        """Compare what came with one old block, well below a millisecond; False when more must come first."""
        pending, old = self._pending, self.old
        if self._at < len(old.blocks):
            last = self._at + 1 == len(old.blocks)
            boundary = old.blocks[-1].keys[-1] + b"\0" if last else old.firsts[self._at + 1]
            if not (self._ended or (pending and pending[-1].key >= boundary)):
                return False
            stop = bisect_left(pending, boundary, key=_key)
            self._take(pending[:stop])
        else:
            if len(pending) < BLOCK_RECORDS and not (self._ended and pending):
                return False
            stop = min(len(pending), BLOCK_RECORDS)
            self._take_new(pending[:stop])
        del pending[:stop]
        return True

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
        if (highest := max(revisions)) > self._highest:
            self._highest, self.newest = highest, keys[revisions.index(highest)]

    def _take_new(self, records: list[Record]) -> None:
        """There was nothing before `records`."""
        self.blocks += cut(records)
        if not self._first:
            self._note(map(Event, records))

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
        changed = ((record, old.pop(record.key, None)) for record in records)
        self._note(Event(record, prev=prev) for record, prev in changed if prev != record)
        self._note(
            Event(Record(key, mod_revision=self.revision), deleted=True, prev=prev)
            for key, prev in old.items()
        )

    def _note(self, events: Iterable[Event]) -> None:
        for event in events:
            kv = event.kv
            if kv.mod_revision <= self._held:
                state = "gone" if event.deleted else "as it is"
                raise Rewritten(
                    f"key {kv.key!r} has been {state} since revision {kv.mod_revision}, but was not at "
                    f"{self._held}: another history"
                )
            self.events.append(event)
            self.size += cost(event)
