"""Where connections come in: while there are places, and a few at a time, so that others need not wait."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from weakref import WeakSet

import structlog

from syncd.serve.errors import ApiError
from syncd.serve.peer import user_of
from syncd.serve.places import Held, Places

BACKLOG = 4096
"""Connections that wait to be accepted. Those beyond wait to connect, or are refused: on a Unix socket, who
has a time-out for it gets EAGAIN at once, and most programs have one."""

AT_ONCE = 16
"""So many are accepted in one go: some 2 ms."""

HANDSHAKE = 5.0
"""Seconds that a client has for its part of TLS."""

LEAVING = 30.0
"""Seconds in which a connection that was closed must have taken what was written to it."""

LATER = 1.0
"""Seconds to wait when the system has no descriptor or memory for another connection."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_BODY = ApiError("overloaded", "too many connections are open; close some, or share them").body()
_TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)

log = structlog.get_logger("syncd.serve")


class Entrance:
    """Lets in who connects to `listener`, a bound socket, until left; `protocol` speaks with each of them."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        places: Places,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        """For connections from now on; None: none."""
        self._listener = listener
        self._protocol = protocol
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._group = asyncio.TaskGroup()
        self._arriving: dict[asyncio.Task[None], Held] = {}
        self._inside: WeakSet[asyncio.Transport] = WeakSet()
        self._leaving: WeakSet[asyncio.Transport] = WeakSet()
        self._without_room = False
        self._later: asyncio.TimerHandle | None = None
        self._sweep = self._loop.call_later(LEAVING, self._see_off)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._listener.listen(BACKLOG)
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._listener)
        self._sweep.cancel()
        if self._later:
            self._later.cancel()
        for task in self._arriving:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def _open(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                if not self._without_room:
                    log.error("no connection can be accepted", error=error.strerror)  # noqa: TRY400 - says all
                self._without_room = True
                self._loop.remove_reader(self._listener)
                self._later = self._loop.call_later(LATER, self._open)
                return
            self._without_room = False
            self._let_in(accepted)

    def _let_in(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        user = user_of(accepted)
        if self._places.take(user):
            connection = Held(accepted, self._places, user)
            task = self._group.create_task(self._arrive(connection), name="arrival")
            self._arriving[task] = connection
            task.add_done_callback(self._arrived)
            return
        with accepted, suppress(OSError):
            if not self.tls:
                accepted.send(_TURNED_AWAY)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        connection = self._arriving.pop(task)
        if task.cancelled():  # perhaps before it began, and then nobody else has the connection
            connection.close()

    async def _arrive(self, connection: Held) -> None:
        """Hand the connection over to a protocol of its own, after TLS's handshake if there is one."""
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self.tls,
                ssl_handshake_timeout=HANDSHAKE if self.tls else None,
            )
        except (OSError, TimeoutError) as error:  # of which ssl.SSLError is one
            log.debug("no TLS", error=str(error))
        else:
            self._inside.add(transport)

    def _see_off(self) -> None:
        """Cut those that were closed long ago, but wait for their reader to take the rest."""
        leaving = WeakSet(transport for transport in self._inside if transport.is_closing())
        for transport in leaving & self._leaving:
            transport.abort()
        self._leaving = leaving
        self._sweep = self._loop.call_later(LEAVING, self._see_off)
