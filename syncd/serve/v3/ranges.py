"""kv/range on a view: which keys, in which order, how many; as etcd does it, to its oddities. Pure.

etcd reads the interval in the order of keys, with the limit, if it must neither sort nor filter; else all of
it. Then it filters, sorts, and cuts off what is too many. `count` is that of the interval, whatever the rest
says. Seen on 3.5.1 to 3.5.30: with a `sort_target` other than KEY and no `sort_order`, it sorts what the
limit has left, and one more. Of keys that are equal in what is sorted by, etcd puts any first; here, they are
in the order of keys.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import Annotated

import msgspec

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.messages import interval, key_value_json, key_value_pieces
from syncd.store import Block, View

PIECE_BYTES = 256 << 10
"""Of keys and values, encoded at a time: less than a millisecond."""

PIECE_RECORDS = 200
PIECE_BLOCKS = 8
"""Records, and blocks in which nothing is chosen, that are looked at before others have their turn."""

Slices = Sequence[tuple[Block, int, int]]


class SortOrder(IntEnum):
    """RangeRequest.SortOrder."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(IntEnum):
    """RangeRequest.SortTarget."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class RangeRequest(msgspec.Struct, frozen=True):
    """etcd's own."""

    key: bytes = b""
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: Annotated[int, SortOrder] = 0
    sort_target: Annotated[int, SortTarget] = 0
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0

    def keys(self) -> KeyRange:
        """What it asks for, or EtcdError when it is not to be asked."""
        keys = interval(self.key, self.range_end)
        if not 0 <= self.sort_target < len(SortTarget):
            # 3.5.16 dies of it. An order that there is not, it takes for none.
            raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: invalid sort option")
        return keys

    @property
    def filters(self) -> bool:
        """Whether some of the keys may be passed over."""
        return bool(
            self.min_mod_revision
            or self.max_mod_revision
            or self.min_create_revision
            or self.max_create_revision
        )

    @property
    def sorts(self) -> bool:
        """Whether another order is asked for than that of keys, or its reverse."""
        return self.sort_target != SortTarget.KEY and self.sort_order in (
            SortOrder.NONE,
            SortOrder.ASCEND,
            SortOrder.DESCEND,
        )

    @property
    def descends(self) -> bool:
        """Whether the largest comes first."""
        return self.sort_order == SortOrder.DESCEND

    def chosen(self, block: Block, low: int, high: int) -> Sequence[int]:
        """Those of the records `low` to `high` that the filters leave."""
        found: Sequence[int] = range(low, high)
        if not self.filters:
            return found
        numbers = block.numbers
        for least, most, column in (
            (self.min_create_revision, self.max_create_revision, 0),
            (self.min_mod_revision, self.max_mod_revision, 1),
        ):
            if least:
                found = [at for at in found if numbers[at * 4 + column] >= least]
            if most:
                found = [at for at in found if numbers[at * 4 + column] <= most]
        return found


class Selection:
    """What a request asks for in a view."""

    def __init__(self, view: View, request: RangeRequest) -> None:
        self.request = request
        keys = KeyRange(request.key, request.range_end)
        self.count = view.count(keys)
        slices: list[tuple[Block, int, int]] = []
        if not request.count_only:
            # Some thousands of slices for each page of a large range would be work for the garbage collector.
            few = request.limit > 0 and not (request.sort_order or request.filters)
            slices = view.slices(keys, request.limit + 1 if few else None)
            if few and request.sorts:
                slices = list(_first(slices, request.limit + 1))
        self.slices: Slices = slices
        self.order: Sequence[int] | None = None
        """The records' places in `slices`, if these are not in order; to be set by who has sorted them."""

    def pieces(self, header: bytes) -> Iterator[bytes]:
        """The answer's JSON, made as it is asked for: in pieces, some of them perhaps empty."""
        yield b'{"header":' + header
        request = self.request
        more = False
        if not request.count_only:
            left = request.limit if request.limit > 0 else self.count
            head = b',"kvs":['
            for records in self._records():
                more = len(records) > left
                for piece in _encoded(records[:left], head, keys_only=request.keys_only):
                    yield piece
                    head = b","
                left -= len(records)
                if more:
                    break
                yield b""
            if head == b",":
                yield b"]"
        yield b"%b%b}" % (
            b',"more":true' if more else b"",
            b',"count":"%d"' % self.count if self.count else b"",
        )

    def _records(self) -> Iterator[list[Record]]:
        """All that is left of the filters, in order, some at a time."""
        if self.order is not None:
            yield from self._in_order(self.order)
            return
        request, slices = self.request, self.slices
        backwards = request.descends
        found: list[Record] = []
        for at, (block, low, high) in enumerate(reversed(slices) if backwards else slices, 1):
            chosen = request.chosen(block, low, high)
            found += map(block.record, reversed(chosen) if backwards else chosen)
            if found or not at % PIECE_BLOCKS:
                yield found
                found = []

    def _in_order(self, order: Sequence[int]) -> Iterator[list[Record]]:
        slices = self.slices
        ends = list(accumulate(high - low for _, low, high in slices))
        for begin in range(0, len(order), PIECE_RECORDS):
            records = []
            for place in order[begin : begin + PIECE_RECORDS]:
                at = bisect_right(ends, place)
                block, _, high = slices[at]
                records.append(block.record(high - ends[at] + place))
            yield records


def _first(slices: Slices, count: int) -> Iterator[tuple[Block, int, int]]:
    for block, low, high in slices:
        if count <= 0:
            return
        yield block, low, min(high, low + count)
        count -= high - low


def _encoded(records: Sequence[Record], head: bytes, *, keys_only: bool) -> Iterator[bytes]:
    """KeyValues with a comma before each, before the first one `head`; nothing of a piece is kept here."""
    pieces: list[bytes] = []
    size = 0
    for record in records:
        pieces.append(head)
        head = b","
        if len(record.value) > PIECE_BYTES and not keys_only:
            yield _joined(pieces)
            yield from key_value_pieces(record)
            size = 0
            continue
        pieces.append(key_value_json(record, keys_only=keys_only))
        size += len(pieces[-1])
        if size >= PIECE_BYTES:
            yield _joined(pieces)
            size = 0
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[bytes]) -> bytes:
    """All of them, which are given up."""
    joined = b"".join(pieces)
    pieces.clear()
    return joined
