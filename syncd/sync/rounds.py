"""One question, asked for everybody who wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from syncd.errors import SyncdError

Answer = TypeVar("Answer")


class Rounds(Generic[Answer]):
    """`ask`, at most once at a time: whoever comes meanwhile shares the next answer.

    The answer under way would not do: it may be about a moment before they came. And it is `run` that asks,
    so that nobody who is out of patience cuts the question for all others.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[Answer]] = []

    def answer(self) -> asyncio.Future[Answer]:
        """An answer that was asked for after now, while `run` runs; SyncdError is shared, too."""
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._wanted.set()
        return waiting

    async def run(self) -> None:
        """Ask whenever somebody waits, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            if all(one.done() for one in waiting):
                continue  # they have given up
            try:
                told = await self._ask()
            except SyncdError as error:
                for one in waiting:
                    if not one.done():
                        one.set_exception(error)
            else:
                for one in waiting:
                    if not one.done():
                        one.set_result(told)
