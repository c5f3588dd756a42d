"""The records of a range as a sorted sequence of immutable blocks.

A view must not copy half a million records, an event must not copy them either, and the same snapshot
must not be encoded once per reader. So records lie in key order in blocks of some 128, which never
change: an event replaces one block, a view shares the list of blocks, and whoever encodes a block may
keep the result for as long as the block lives (blocks can be weakly referenced).

Inside a block the records are columns: a tuple of keys, a tuple of values, one array for the four
integers. That costs about 130 bytes a key beyond key and value; a record object a key costs 240 to 280.
A dict of records was rejected for that, and because it has no order; a balanced tree in Python costs
more per node than a block per 128 keys, and is slower to scan.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count
from operator import attrgetter
from typing import NamedTuple

from syncd.keyrange import KeyRange
from syncd.records import Record

BLOCK_RECORDS = 128
"""Records in a new block: small enough to copy in microseconds, large enough to keep the list short."""

SPLIT_ABOVE = 2 * BLOCK_RECORDS
MERGE_BELOW = BLOCK_RECORDS // 4
"""A block that grew or shrank past these is cut, or joined with a neighbour."""

NUMBERS = 4
"""Integers of a record: see Block.numbers."""

_serials = count()
_numbers = attrgetter("create_revision", "mod_revision", "version", "lease")
_STEP = BLOCK_RECORDS * NUMBERS

Changes = Sequence[tuple[bytes, Record | None]]
"""The new record of each key, None for a key that is gone; in key order, each key once."""


class Block:
    """Some neighbouring records; at least one. Never changed once made."""

    __slots__ = ("__weakref__", "count", "first", "keys", "numbers", "serial", "size", "values")

    def __init__(
        self, keys: tuple[bytes, ...], values: tuple[bytes, ...], numbers: array[int], size: int
    ) -> None:
        self.serial = next(_serials)
        """Another one for each block that this process makes: what is the same in two states, without keeping
        it."""
        self.first = keys[0] if keys else b""
        self.count = len(keys)
        self.keys = keys
        self.values = values
        self.numbers = numbers
        """create_revision, mod_revision, version and lease of the first record, of the second, …"""
        self.size = size
        """Bytes of keys and values."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Block:
        """The block of `records`, which are in key order."""
        numbers = array("q", chain.from_iterable(map(_numbers, records)))
        return _block([r.key for r in records], [r.value for r in records], numbers)

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same records; still hashed by identity, for caches of the encoded form."""
        if not isinstance(other, Block):
            return NotImplemented
        return self.keys == other.keys and self.numbers == other.numbers and self.values == other.values

    __hash__ = object.__hash__

    def record(self, index: int) -> Record:
        """The record at `index`."""
        at = index * NUMBERS
        return Record(self.keys[index], self.values[index], *self.numbers[at : at + NUMBERS])

    def find(self, key: bytes) -> Record | None:
        """The record of `key`, None when it is not here."""
        index = bisect_left(self.keys, key)
        return self.record(index) if index < len(self.keys) and self.keys[index] == key else None

    def mod_revisions(self) -> Sequence[int]:
        """The mod_revision of each record."""
        return self.numbers[1::NUMBERS]

    def edited(self, changes: Changes) -> list[Block]:
        """The blocks that take this one's place after `changes`: none, one, or several when it grew."""
        keys: Sequence[bytes] = self.keys
        values, numbers, size = list(self.values), self.numbers[:], self.size
        for key, record in changes:
            index = bisect_left(keys, key)
            here = index < len(keys) and keys[index] == key
            at = index * NUMBERS
            if here and record is not None:  # the common case: the keys stay as they are, and shared
                size += len(record.value) - len(values[index])
                values[index] = record.value
                numbers[at : at + NUMBERS] = array("q", _numbers(record))
                continue
            if not isinstance(keys, list):
                keys = list(keys)
            if here:
                size -= len(key) + len(values[index])
                del keys[index], values[index], numbers[at : at + NUMBERS]
            elif record is not None:
                size += len(record.key) + len(record.value)
                keys.insert(index, record.key)
                values.insert(index, record.value)
                numbers[at:at] = array("q", _numbers(record))
        if not keys:
            return []
        if len(keys) <= SPLIT_ABOVE:
            return [Block(tuple(keys), tuple(values), numbers, size)]
        return [
            _block(keys[i : i + BLOCK_RECORDS], values[i : i + BLOCK_RECORDS], numbers[at : at + _STEP])
            for i, at in zip(range(0, len(keys), BLOCK_RECORDS), range(0, len(numbers), _STEP), strict=True)
        ]

    def joined(self, other: Block) -> Block:
        """One block of this one and `other`, which follows it."""
        return Block(
            self.keys + other.keys,
            self.values + other.values,
            self.numbers + other.numbers,
            self.size + other.size,
        )


class Columns(NamedTuple):
    """What a block consists of."""

    keys: tuple[bytes, ...]
    values: tuple[bytes, ...]
    numbers: array[int]


class Packed(Block):
    """A block that is unpacked when somebody first looks into it: so a restart needs not wait for that."""

    __slots__ = ("_unpack",)

    def __init__(self, first: bytes, count: int, size: int, unpack: Callable[[], Columns]) -> None:
        self.serial = next(_serials)
        # The columns stay unset until Python, which does not find one, asks `__getattr__`.
        self.first = first
        self.count = count
        self.size = size
        self._unpack: Callable[[], Columns] | None = unpack

    def __getattr__(self, name: str) -> object:
        if name not in ("keys", "values", "numbers"):
            raise AttributeError(name)
        # Another thread may do the same now, which does no harm, or have done it since Python looked.
        if unpack := self._unpack:
            self.keys, self.values, self.numbers = unpack()
            self._unpack = None  # and with it the packed form
        return object.__getattribute__(self, name)


EMPTY = Block((), (), array("q"), 0)
"""Only to be edited: what the first records of an empty range are put into."""


class Blocks:
    """All records of a range. `apply` changes it in place: whoever handed it out goes on with a `copy`."""

    __slots__ = ("blocks", "count", "firsts", "size")

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.firsts = [block.first for block in blocks]
        self.count = sum(map(len, blocks))
        self.size = sum(block.size for block in blocks)
        """Bytes of keys and values."""

    def copy(self) -> Blocks:
        """The same records, in the same blocks."""
        twin = Blocks.__new__(Blocks)
        twin.blocks, twin.firsts = self.blocks.copy(), self.firsts.copy()
        twin.count, twin.size = self.count, self.size
        return twin

    def get(self, key: bytes) -> Record | None:
        """The record of `key`, None when there is none."""
        return self.blocks[self.position(key)].find(key) if self.blocks else None

    def slices(self, keys: KeyRange, most: int | None = None) -> list[tuple[Block, int, int]]:
        """The parts of blocks that make up an interval, in order: (block, first index, past the last).

        With `most`, not all that make up more than so many records: as many parts as they take.
        """
        begin, low, end, high = self._bounds(keys)
        found = []
        left = self.count if most is None else most
        for at in range(begin, min(end + 1, len(self.blocks))):
            if left <= 0:
                break
            block = self.blocks[at]
            stop = high if at == end else len(block)
            if low < stop:
                found.append((block, low, stop))
                left -= stop - low
            low = 0
        return found

    def count_of(self, keys: KeyRange) -> int:
        """The number of records in an interval."""
        begin, low, end, high = self._bounds(keys)
        return max(sum(map(len, self.blocks[begin:end])) - low + high, 0) if begin <= end else 0

    def _bounds(self, keys: KeyRange) -> tuple[int, int, int, int]:
        """Block and index of the first record of an interval, and of that past the last."""
        blocks, stop = self.blocks, keys.stop
        if not blocks:
            return 0, 0, 0, 0
        begin = self.position(keys.key)
        low = bisect_left(blocks[begin].keys, keys.key)
        if stop is None:
            return begin, low, len(blocks), 0
        end = self.position(stop)
        return begin, low, end, bisect_left(blocks[end].keys, stop)

    def apply(self, changes: Changes) -> None:
        """Make `changes`."""
        blocks, firsts = self.blocks, self.firsts
        done = len(changes)
        # From the last change to the first, at most a block's worth at a time: a block that takes in
        # thousands of keys is cut before inserting into it gets slow.
        while done:
            position = self.position(changes[done - 1][0])
            begin = bisect_left(changes, (firsts[position],), 0, done) if position else 0
            begin = max(begin, done - BLOCK_RECORDS)
            start, stop = position, position + 1
            new = (blocks[position] if blocks else EMPTY).edited(changes[begin:done])
            if len(new) == 1 and len(new[0]) < MERGE_BELOW and position:
                before = blocks[position - 1]
                if len(before) + len(new[0]) <= BLOCK_RECORDS:
                    start, new = position - 1, [before.joined(new[0])]
            for block in blocks[start:stop]:
                self.count -= len(block)
                self.size -= block.size
            for block in new:
                self.count += len(block)
                self.size += block.size
            blocks[start:stop] = new
            firsts[start:stop] = [block.first for block in new]
            done = begin

    def position(self, key: bytes) -> int:
        """Index of the block in which `key` is, or would be."""
        return max(bisect_right(self.firsts, key) - 1, 0)


def cut(records: Sequence[Record]) -> list[Block]:
    """`records`, in key order, as blocks of at most BLOCK_RECORDS."""
    return [Block.of(records[i : i + BLOCK_RECORDS]) for i in range(0, len(records), BLOCK_RECORDS)]


def _block(keys: Sequence[bytes], values: Sequence[bytes], numbers: array[int]) -> Block:
    return Block(tuple(keys), tuple(values), numbers, sum(map(len, keys)) + sum(map(len, values)))


def each(slices: Iterable[tuple[Block, int, int]]) -> Iterator[Record]:
    """The records of `slices`, one by one."""
    for block, low, high in slices:
        for index in range(low, high):
            yield block.record(index)
