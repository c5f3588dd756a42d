"""A read that waits until the mirror has all that etcd had when it was asked, without a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syncd.serve.source import Source

PATIENCE = 1.0
"""Seconds; usually it is a thousandth of that. Whoever waits for longer has a handler of aiohttp's for it."""


class Wait:
    """Calls `then` once, unless it was cancelled: with whether `source` has come as far as etcd was."""

    def __init__(self, source: Source, then: Callable[[bool], None]) -> None:
        self._source = source
        self._then = then
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._end, False)
        self._unsubscribe: Callable[[], None] | None = None
        self._asked = source.etcd_revision()
        self._asked.add_done_callback(self._told)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._timer.cancel()
        self._asked.cancel()
        if self._unsubscribe:
            self._unsubscribe()

    def _told(self, asked: asyncio.Future[int]) -> None:
        if asked.cancelled():
            return
        if asked.exception():
            self._end(False)
        elif self._source.store.revision >= asked.result():
            self._end(True)
        else:
            self._unsubscribe = self._source.store.subscribe(self._look)
            self._source.hurry()

    def _look(self) -> None:
        if self._source.store.revision >= self._asked.result():
            self._end(True)

    def _end(self, reached: bool) -> None:
        self.cancel()
        self._then(reached)
