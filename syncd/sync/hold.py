"""A range stays as it is, though etcd has far fewer keys, till somebody accepts that or the keys are back."""

from __future__ import annotations

import asyncio
import random
import shlex
from collections.abc import Callable
from contextlib import suppress

import structlog

from syncd.errors import SyncdError
from syncd.gateway import Gateway
from syncd.keyrange import KeyRange
from syncd.status import Held
from syncd.sync.guard import Guard, Shrink, Shrunk
from syncd.sync.standing import Standing

FIRST, MOST = 10.0, 60.0
"""Seconds at most between two looks at how many keys there are, first and later; etcd counts each of them."""


class Hold:
    """Of the range `keys`, whose `guard` has said what must not be yet."""

    def __init__(
        self,
        keys: KeyRange,
        gateway: Gateway,
        guard: Guard,
        standing: Standing,
        now: Callable[[], float],
        draw: random.Random,
    ) -> None:
        self._keys = keys
        self._gateway = gateway
        self._guard = guard
        self._standing = standing
        self._now = now
        self._draw = draw
        self._log = structlog.get_logger("syncd.sync").bind(range=keys.name)
        self._shrink: Shrink | None = None
        self._since = 0.0
        self._pause = FIRST
        self._accepted = asyncio.Event()

    def status(self) -> Held | None:
        """What is held back now, as etcd was when it was last looked at."""
        if self._shrink is None:
            return None
        shrink, seconds = self._shrink, round(self._now() - self._since, 3)
        return Held(shrink.keys, shrink.would_be, shrink.revision, seconds)

    @property
    def accepted(self) -> bool:
        """Whether somebody has said that what is held may come, and it has not come yet."""
        return self._shrink is not None and self._accepted.is_set()

    def accept(self) -> bool:
        """Let through what the status tells, and no more; whether there was anything."""
        if self._shrink is None:
            return False
        self._guard.begin(self._shrink.would_be)
        self._accepted.set()
        return True

    async def wait(self, error: Shrunk, serving: int, *, look_now: bool) -> None:
        """Return when that may come, or as many keys are there again; either way, the range is to be read.

        `look_now`: how many would be left is not known to the end yet.
        """
        if self._shrink is None:
            self._since, self._pause = self._now(), FIRST
        self._shrink = error.shrink
        self._accepted.clear()
        self._log.warning(
            "held",
            keys=error.shrink.keys,
            would_be=error.shrink.would_be,
            at=error.shrink.revision,
            serving=serving,
            meaning="more keys would be gone than guard.max_shrink allows; the old state is served on",
            cure=f"if that is right: syncd accept {shlex.quote(self._keys.name)}; else mend etcd",
        )
        if look_now and await self._may_come(error):
            return
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._draw.uniform(self._pause / 2, self._pause)):
                    await self._accepted.wait()
                    return
            self._pause = min(2 * self._pause, MOST)
            if await self._may_come(error):
                return

    async def _may_come(self, error: Shrunk) -> bool:
        try:
            page = await self._gateway.count(self._keys)
        except SyncdError as trouble:
            self._standing.failed(trouble)
            return False
        self._standing.well()  # etcd answers, that is
        shrink = Shrink(error.shrink.keys, page.count, page.header.revision)
        if self._guard.allows(shrink):
            return True
        self._shrink = shrink
        self._standing.failed(Shrunk(shrink, error.max_shrink))
        return False

    def over(self) -> None:
        """The range was read; nothing is held any more."""
        if self._shrink is not None:
            self._shrink = None
            seconds = round(self._now() - self._since, 3)
            self._log.info("no longer held", accepted=self._accepted.is_set(), seconds=seconds)
