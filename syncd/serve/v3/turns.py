"""Costly work, a little of it at a time: who must wait does so among his own, and nobody for long.

A plain semaphore would let one user who asks for much keep all others waiting behind him.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from syncd.serve.budget import Budget, User
from syncd.serve.v3.errors import too_many

PATIENCE = 7.0
"""Seconds that one may wait: as long as etcd has for a request, by default."""


class Turns:
    """`at_once` of them, and places for `waiting` that users share: each user in turn has one."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        self._places = Budget(waiting)
        self._queues: dict[User, deque[asyncio.Future[None]]] = {}
        """The next user's first; none is empty."""

    @asynccontextmanager
    async def turn(self, user: User, until: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        EtcdError when too many wait, or when it has not come at `until`, by the clock of the event loop.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(user, until)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, user: User, until: float) -> None:
        if not self._places.take(user):
            raise too_many()
        come = asyncio.get_running_loop().create_future()
        self._queues.setdefault(user, deque()).append(come)
        try:
            async with asyncio.timeout_at(until):
                await come
        except BaseException as error:
            if come.done() and not come.cancelled():  # it came in that very moment
                self._next()
            else:
                self._leave(user, come)
            if isinstance(error, TimeoutError):
                raise too_many() from error
            raise
        finally:
            self._places.give_back(user)

    def _next(self) -> None:
        """Somebody's turn is over: it is that of another user, if there is one."""
        while self._queues:
            user = next(iter(self._queues))
            queue = self._queues.pop(user)
            come = queue.popleft()
            if queue:
                self._queues[user] = queue
            if not come.done():
                come.set_result(None)
                return
        self._free += 1

    def _leave(self, user: User, come: asyncio.Future[None]) -> None:
        if come in (queue := self._queues.get(user, deque())):
            queue.remove(come)
            if not queue:
                del self._queues[user]
