"""Where two states of a range differ, so that one can be written over the other piece by piece. Pure.

Blocks never change, so those that both have are the same ones, by their serial numbers. Between them lie
regions that begin and end at the same keys in both. Each can be replaced by itself: before and after, every
key is in exactly one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from syncd.store import Block


class Known(Protocol):
    """What there is to know of a block."""

    @property
    def first(self) -> bytes:
        """Its first key."""

    @property
    def serial(self) -> int:
        """Its own."""


class Mark(NamedTuple):
    """What is known of a block that is not there any more."""

    first: bytes
    serial: int


Region = tuple[Sequence[Known], Sequence[Block]]
"""Blocks of the old state, and those of the new one that take their place."""


def regions(old: Sequence[Known], new: Sequence[Block]) -> Iterator[Region]:
    """All regions in which the two differ, in key order."""
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i].serial == new[j].serial:
            i, j = i + 1, j + 1
            continue
        begin = i, j
        if _first(old, i) == _first(new, j):
            i, j = i + 1, j + 1
        while (here := _first(old, i)) != (there := _first(new, j)):
            if there is None or (here is not None and here < there):
                i += 1
            else:
                j += 1
        yield old[begin[0] : i], new[begin[1] : j]


def _first(blocks: Sequence[Known], index: int) -> bytes | None:
    """Where a block begins; None past the last."""
    return blocks[index].first if index < len(blocks) else None
