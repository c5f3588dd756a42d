"""Blocks on their way into a file, a piece for each transaction. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from syncd.cache.regions import Region
from syncd.store import Block

PIECE = 2 << 20
"""Bytes of blocks in one transaction: LMDB holds them in memory till its end, and the file needs as much room
beside what they replace."""


@dataclass(slots=True)
class Sweep:
    """`blocks`, as of `revision`, are being written; `regions` are left, the next one last."""

    blocks: Sequence[Block]
    revision: int
    regions: list[Region]

    def piece(self) -> list[Region]:
        """The next regions, enough for one transaction."""
        taken, size = list[Region](), 0
        while self.regions and size < PIECE:
            taken.append(self.regions.pop())
            size += size_of(taken[-1][1])
        return taken


def pieces(blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
    """All of them, each time enough for one transaction."""
    begin = size = 0
    for end, block in enumerate(blocks, 1):
        size += block.size
        if size >= PIECE or end == len(blocks):
            yield blocks[begin:end]
            begin, size = end, 0


def size_of(blocks: Iterable[Block]) -> int:
    """Bytes of keys and values."""
    return sum(block.size for block in blocks)
