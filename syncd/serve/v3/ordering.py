"""Half a million keys sorted, while others have their turn.

Sorting them at once would stop everything for most of a second, in another thread too, as `list.sort` lets
nobody else in. So runs of some thousands are sorted, and then merged a little at a time.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from heapq import merge
from itertools import islice

from syncd.serve.v3.ranges import Selection, SortTarget
from syncd.store import Block

RUN = 4096
"""Records sorted at a time, and merged: two milliseconds."""

SORTING = 2
"""Large sorts at a time; each takes some hundred bytes a key while it lasts, and then four."""


class Sorting:
    """Sorts for all requests, not too many at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(SORTING)

    async def sort(self, selection: Selection) -> None:
        """Set the order of `selection`, if it is not that of keys."""
        if not selection.request.sorts or selection.request.count_only:
            return
        if sum(high - low for _, low, high in selection.slices) <= RUN:
            selection.order = await _sorted(selection)
            return
        async with self._turns:
            selection.order = await _sorted(selection)


async def _sorted(selection: Selection) -> Sequence[int]:
    request = selection.request
    most = request.limit + 1 if request.limit > 0 else selection.count
    # Equal ones stay in the order of keys: with places that go down where the largest comes first.
    backwards, step = request.descends, -1 if request.descends else 1
    runs: list[list[tuple[int | bytes, int]]] = []
    run: list[tuple[int | bytes, int]] = []
    place = 0
    for at, (block, low, high) in enumerate(selection.slices, 1):
        column = _column(block, request.sort_target)
        run += [(column[i], step * (place + i - low)) for i in request.chosen(block, low, high)]
        place += high - low
        if len(run) >= RUN or at == len(selection.slices):
            run.sort(reverse=backwards)
            del run[most:]
            runs.append(run)
            run = []
            await _others(runs)
    order = array("L")
    merged = merge(*runs, reverse=backwards)
    while some := list(islice(merged, min(RUN, most - len(order)))):
        order.extend([step * place for _, place in some])
        await _others(runs)
    return order


def _column(block: Block, target: int) -> Sequence[int] | Sequence[bytes]:
    if target == SortTarget.VALUE:
        return block.values
    return block.numbers[_COLUMNS[target] :: 4]


_COLUMNS: dict[int, int] = {SortTarget.CREATE: 0, SortTarget.MOD: 1, SortTarget.VERSION: 2}


async def _others(runs: Sequence[object]) -> None:
    """Give way, if there is more than a little to do."""
    if len(runs) > 1:
        await asyncio.sleep(0)
