"""One question, asked for everybody who wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from syncd.errors import SyncdError

Answer = TypeVar("Answer")


class Rounds(Generic[Answer]):
    """`ask`, at most once at a time: whoever comes meanwhile shares the next answer.

    The answer under way would not do: it may be about a moment before they came.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._round = 0
        self._outcome: tuple[int, Answer | SyncdError] | None = None

    async def answer(self) -> Answer:
        """An answer that was asked for after now; SyncdError is shared, too."""
        now = self._round
        async with self._asking:
            if self._outcome is None or self._outcome[0] <= now:
                self._round += 1
                try:
                    self._outcome = self._round, await self._ask()
                except SyncdError as error:
                    self._outcome = self._round, error
            _, told = self._outcome
        if isinstance(told, SyncdError):
            raise told
        return told
