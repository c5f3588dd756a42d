"""Half a million keys sorted, while others have their turn.

Sorting them at once would stop everything for most of a second, in another thread too, as `list.sort` lets
nobody else in. So runs of some thousands are sorted, and then merged a little at a time. What is kept of a
key meanwhile is two numbers in arrays: a tuple would take ten times the room, and half a million of them a
tenth of a second to be thrown away.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator, MutableSequence, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from syncd.serve.budget import User
from syncd.serve.v3.ranges import RangeRequest, Selection, SortTarget
from syncd.serve.v3.turns import PATIENCE, Turns
from syncd.store import Block

RUN = 4096
"""Records sorted at a time: two milliseconds."""

MERGED = 1024
"""Records merged at a time: one or two milliseconds."""

SORTING = 2
"""Large sorts at a time."""

WAITING = 32
"""Large sorts that may wait for their turn."""


class Sorting:
    """Sorts for all requests, not too many at a time."""

    def __init__(self) -> None:
        self._turns = Turns(SORTING, WAITING)

    async def sort(self, selection: Selection, user: User = None) -> None:
        """Set the order of `selection`, if it is not that of keys.

        EtcdError when too many large ones are asked for.
        """
        if not selection.request.sorts or selection.request.count_only:
            return
        if sum(high - low for _, low, high in selection.slices) <= RUN:
            selection.order = await _sorted(selection)
            return
        async with self._turns.turn(user, asyncio.get_running_loop().time() + PATIENCE):
            selection.order = await _sorted(selection)


async def _sorted(selection: Selection) -> Sequence[int]:
    request = selection.request
    most = request.limit + 1 if request.limit > 0 else selection.count
    runs: list[_Run] = []
    run = _Run(request, 0)
    for block, low, high in selection.slices:
        if run.size >= RUN:
            run.sort(most)
            runs.append(run)
            run = _Run(request, run.end)
            await asyncio.sleep(0)
        run.add(block, low, high)
    run.sort(most)
    runs.append(run)
    order = array("L")
    merged = merge(*runs, reverse=request.descends)
    while some := list(islice(merged, min(MERGED, most - len(order)))):
        order.extend([abs(place) for _, place in some])
        if len(some) == MERGED:
            await asyncio.sleep(0)
    return order


class _Run:
    """Neighbouring records, of which the first has the place `begin`; iterates in the order asked for."""

    def __init__(self, request: RangeRequest, begin: int) -> None:
        self._request = request
        self._begin = begin
        self._column: MutableSequence[Any] = [] if request.sort_target == SortTarget.VALUE else array("q")
        self._order = array("L")
        self.size = 0

    @property
    def end(self) -> int:
        """The place after its last record."""
        return self._begin + self.size

    def add(self, block: Block, low: int, high: int) -> None:
        """These come next."""
        request = self._request
        shift = self.size - low
        self._order.extend([at + shift for at in request.chosen(block, low, high)])
        if request.sort_target == SortTarget.VALUE:
            self._column.extend(block.values[low:high])
        else:
            self._column.extend(block.numbers[_COLUMNS[request.sort_target] :: 4][low:high])
        self.size += high - low

    def sort(self, most: int) -> None:
        """Put them in order, and keep the first `most`."""
        ordered = sorted(self._order, key=self._column.__getitem__, reverse=self._request.descends)
        self._order = array("L", ordered[:most])

    def __iter__(self) -> Iterator[tuple[int | bytes, int]]:
        # What is equal stays in the order of keys: where the largest come first, by places below zero.
        column, begin = self._column, self._begin
        step = -1 if self._request.descends else 1
        return ((column[at], step * (begin + at)) for at in self._order)


_COLUMNS: dict[int, int] = {SortTarget.CREATE: 0, SortTarget.MOD: 1, SortTarget.VERSION: 2}
