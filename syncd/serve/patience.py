"""How long, and how much of it, a connection may take for a request, and for taking the answer."""

from __future__ import annotations

import asyncio

from aiohttp import web

from syncd.serve.budget import User
from syncd.serve.peer import user_of
from syncd.serve.places import Places
from syncd.serve.stream import STALLED
from syncd.serve.tally import Tally

IDLE = 75.0
"""Seconds after which a connection is closed on which nothing was asked, or a request's head did not come."""

MAX_LINE = 64 << 10
"""Bytes of a request line: a long key, percent-encoded."""

MAX_HEAD = 96 << 10
"""Bytes of a request's head in all; by what aiohttp allows for each header, it could be ten times that."""

READ_AHEAD = 64 << 10
"""Bytes of a body that are held until somebody takes them."""

LINGER = 0.2
"""Seconds in which the rest of a body is read that nobody wants: the answer might get lost else, over TCP."""


class Patient(web.RequestHandler):
    """aiohttp's, with an end to its patience."""

    __slots__ = ("_head", "_held_by", "_slow", "_stalled", "_tally")

    def __init__(self, server: web.Server, tally: Tally, slow: Places) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # means none, as with AppRunner
            keepalive_timeout=IDLE,
            lingering_time=LINGER,
            max_line_size=MAX_LINE,
            read_bufsize=READ_AHEAD,
            auto_decompress=False,  # etcd takes no compressed bodies, and a small one can be made large
        )
        self._tally = tally
        self._slow = slow
        self._held_by: tuple[User] | None = None
        """Who has taken a place among the slow ones for this connection."""
        self._head = 0
        """Bytes of a request's head that have come so far."""
        self._stalled: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is more than a head can be."""
        super().data_received(data)
        waiter = self._waiter
        self._head = self._head + len(data) if waiter and not waiter.done() else 0
        if self._head > MAX_HEAD:
            self._cut(self.transport, "requests cut", f"a head of more than {MAX_HEAD} bytes")

    def pause_writing(self) -> None:
        """The reader does not take what is written."""
        super().pause_writing()
        # The transport as it is now: aiohttp forgets it when it closes it, which is to wait for the reader.
        transport = self.transport
        if transport:
            user = user_of(transport.get_extra_info("socket"))
            if not self._slow.take(user):
                transport.abort()
                return
            self._held_by = (user,)
        what = transport, "readers cut", f"hardly anything was taken for {STALLED:g} s"
        self._stalled = self._loop.call_later(STALLED, self._cut, *what)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._forgive()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over."""
        self._forgive()
        super().connection_lost(exc)

    def _forgive(self) -> None:
        if self._held_by:
            self._slow.give_back(*self._held_by)
            self._held_by = None
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None

    def _cut(self, transport: asyncio.Transport | None, event: str, reason: str) -> None:
        if transport:
            self._tally.tell(event, reason=reason)
            transport.abort()
