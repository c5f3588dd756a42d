"""Which pages of a full read to ask for. Pure.

Pages are sized by bytes: etcd's memory and gRPC's 4 MiB limit are about bytes, not keys. And the range is
cut into *parts*, for two reasons. etcd counts the whole rest of the asked interval for every page, so
reading N keys in pages that all reach to the range's end costs O(N²): 500,000 keys in pages of 8,000
took 3.8 s, of which 1.5 s was counting. And a page is made by one core of etcd after the other; two
parts can be read side by side.

Where to cut is not known beforehand, but each page shows it: take the last key seen, cut it after some
byte and raise that byte by one. That is the end of a subtree in which the next keys lie. The part goes
on up to there, what lies behind is a part of its own, and the next answer tells how many keys the
subtree has: still too many, and it is cut again further down. The bytes that a page's first and last
key have in common are the subtree that holds the page; each byte less is taken to hold ten times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from os.path import commonprefix

from syncd.keyrange import TO_THE_END, KeyRange, prefix_range

FIRST_LIMIT = 32
"""Keys in the first page, before anything is known of their size."""

GROWTH = 8
"""A page may ask for that many times the keys of the largest one before."""

MOST_KEYS = 10_000
"""Keys in a page at most: after many tiny values, large ones may follow."""

MOST_PAGES = 16
"""Parts with more pages than this are cut. Counting half of that for each page costs etcd some 15 % of
sending it; smaller parts would end in many half-filled pages."""

LEAST_PAGES = 2
"""Parts of so few pages are not worth cutting."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Ask for the first `limit` keys of `keys`."""

    keys: KeyRange
    limit: int


@dataclass(slots=True, eq=False)
class Part:
    """An interval of the range, read page by page."""

    request: PageRequest | None
    """The next page to ask for; None when the part is complete."""


class Pager:
    """Plans one full read: the pages of `parts` together are the range, in key order."""

    def __init__(self, keys: KeyRange, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        """What a page is to weigh."""
        self._limit = FIRST_LIMIT
        self.parts = [Part(PageRequest(keys, FIRST_LIMIT))]
        self.total: int | None = None
        """Keys in the whole range; None before the first answer."""

    def too_large(self, limit: int, *, refused: bool) -> int:
        """The limit to use instead of `limit`, which made a page too large; `refused`: for etcd itself."""
        if refused and self.total is not None:  # the first page was asked for blindly, and says nothing
            self.page_bytes = max(self.page_bytes // 2, 1)
        self._limit = min(self._limit, limit // 2)
        return limit // 2

    def answered(
        self, part: Part, *, keys: int, first_key: bytes, last_key: bytes, count: int, weight: int, more: bool
    ) -> None:
        """The page that `part` asked for had `keys` keys, `first_key` to `last_key`, weighing `weight` bytes.

        `count` and `more` are etcd's: the keys in the asked interval, and whether the limit left any out.
        """
        asked = part.request
        if asked is None:
            raise ValueError("this part is complete")
        if self.total is None:
            self.total = count
        if not more:
            part.request = None
            return
        fitting = max(self.page_bytes * keys // max(weight, 1), 1)
        self._limit = min(fitting, max(self._limit, keys) * GROWTH, MOST_KEYS)
        start, end = last_key + b"\0", asked.keys.range_end
        most = min(max(self.total // 2, LEAST_PAGES * self._limit), MOST_PAGES * self._limit)
        levels = int(log10(max(most / keys, 1)))
        depth = len(commonprefix((first_key, last_key))) - levels  # noqa: RUF071 - byte by byte, as it should
        if count - keys > most and (cut := _cut(last_key, max(depth, 1), start, end)) is not None:
            behind = Part(PageRequest(KeyRange(cut, end), self._limit))
            self.parts.insert(self.parts.index(part) + 1, behind)
            end = cut
        part.request = PageRequest(KeyRange(start, end), self._limit)


def _cut(last_key: bytes, depth: int, start: bytes, end: bytes) -> bytes | None:
    """The end of the largest subtree with `last_key`, at `depth` or below, between `start` and `end`."""
    for length in range(depth, len(last_key) + 1):
        cut = prefix_range(last_key[:length]).range_end
        if cut != TO_THE_END and start < cut and (end == TO_THE_END or cut < end):
            return cut
    return None
