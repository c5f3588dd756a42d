"""Long work in slices, so that readers are never kept waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLICE = 0.004
"""Seconds that work may hold the event loop; readers' deadlines are tens of milliseconds."""


class Slices:
    """`await breath()` often; it gives way to others when a slice is used up."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()

    async def breath(self) -> None:
        """Give way when it is time."""
        if self._clock() - self._began >= SLICE:
            await asyncio.sleep(0)
            self._began = self._clock()

    def rested(self) -> None:
        """The event loop was free just now."""
        self._began = self._clock()
