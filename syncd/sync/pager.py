"""Which page of a full read to ask for next. Pure.

A page is sized by bytes, and asked for with a *narrow end*. Both matter. etcd's memory and gRPC's 4 MiB
limit are about bytes, not keys. And etcd counts the whole rest of the asked interval for every page, so
that reading N keys in pages up to the range's end costs O(N²): 500,000 keys in pages of 8,000 took
3.8 s, of which 1.5 s was counting. But a page may end before the range does. Cut the last key seen
after some byte and raise that byte by one: that is the end of a subtree of keys in which the next keys
lie. Each answer tells how many keys its interval had, so subtrees of a known and modest size are
read instead of the long rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncd.keyrange import TO_THE_END, KeyRange, prefix_range

FIRST_LIMIT = 100
"""Keys in the first page, before anything is known of their size."""

GROWTH = 16
"""A page may ask for that many times the keys of the one before."""

SUBTREE_PAGES = 16
"""Intervals with more pages than this are narrowed. Counting that many pages for each page costs etcd
about as much again as 15 % of sending one; narrower ones would end in many half-filled pages."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Ask for the first `limit` keys of `keys`."""

    keys: KeyRange
    limit: int


@dataclass(slots=True)
class _Interval:
    """An interval that is being read; the keys from the next one to `end` are left."""

    end: bytes
    left: int


class Pager:
    """Plans the pages of one full read: `first`, then `after` each answer until it returns None."""

    def __init__(self, keys: KeyRange, page_bytes: int) -> None:
        self._keys = keys
        self._page_bytes = page_bytes
        self._limit = FIRST_LIMIT
        self._intervals: list[_Interval] = []  # each inside the one before
        self._asked_end = keys.range_end
        self._full = False
        self.total: int | None = None
        """Keys in the whole range; None before the first answer."""

    def first(self) -> PageRequest:
        """The first page."""
        return PageRequest(self._keys, self._limit)

    def too_large(self, limit: int) -> int:
        """The limit to use instead of `limit`, whose page passed a message size limit."""
        self._page_bytes = max(self._page_bytes // 2, 1)
        self._limit = limit // 2
        return self._limit

    def after(self, keys: int, last_key: bytes, count: int, weight: int, *, more: bool) -> PageRequest | None:
        """The page after one that held `keys` keys up to `last_key`, weighing `weight` bytes.

        `count` and `more` are etcd's, for the interval that was asked for. None: that was the last page.
        """
        intervals = self._intervals
        if self.total is None:
            self.total = count
            intervals.append(_Interval(self._keys.range_end, count))
        elif self._asked_end != intervals[-1].end:
            intervals.append(_Interval(self._asked_end, count))
        for interval in intervals:
            interval.left -= keys
        start, near = last_key + b"\0", last_key
        while not more:
            start = near = intervals.pop().end
            if not intervals:
                return None
            more = intervals[-1].left > 0
        self._full = keys >= self._limit
        if keys:
            fitting = max(self._page_bytes * keys // max(weight, 1), 1)
            self._limit = min(fitting, self._limit * GROWTH)
        self._asked_end = self._narrowed(start, near)
        return PageRequest(KeyRange(start, self._asked_end), self._limit)

    def _narrowed(self, start: bytes, near: bytes) -> bytes:
        """The end to ask up to: one level further down the tree of keys, at `near`, while the rest is long.

        After a page that was not filled the same end is kept, so at least every other page is full.
        """
        interval = self._intervals[-1]
        if not self._full or interval.left <= self._limit * SUBTREE_PAGES:
            return interval.end
        for length in range(1, len(near) + 1):
            end = prefix_range(near[:length]).range_end
            if end != TO_THE_END and start < end and (interval.end == TO_THE_END or end < interval.end):
                return end
        return interval.end
