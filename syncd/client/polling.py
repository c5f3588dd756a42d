"""How a thread waits: in poll(), and with a way to wake it."""

from __future__ import annotations

import math
import os
import select
import socket
import time
from contextlib import suppress

LONGEST = 2**31 - 1
"""Milliseconds that poll() can count, some 24 days; whoever wants to wait longer waits for ever."""


class Late(Exception):
    """A wait ended because its `deadline` came."""


class Polling:
    """Waits as a thread does."""

    deadline = math.inf
    """When all waits end with `Late`, by time.monotonic()."""

    async def readable(self, sock: socket.socket, seconds: float) -> None:
        """Wait until there is something to read, or an end."""
        self._poll(seconds, sock.fileno(), select.POLLIN)

    async def writable(self, sock: socket.socket, seconds: float) -> None:
        """Wait until there is room to write."""
        self._poll(seconds, sock.fileno(), select.POLLOUT)

    async def sleep(self, seconds: float) -> None:
        """Wait for nothing but the time."""
        with suppress(TimeoutError):
            self._poll(seconds)

    def _poll(self, seconds: float, descriptor: int = -1, events: int = 0) -> None:
        poll = select.poll()
        if events:
            poll.register(descriptor, events)
        left = self.deadline - time.monotonic()
        if not self._ready(poll, min(seconds, left)):
            raise Late if left <= seconds else TimeoutError

    def _ready(self, poll: select.poll, seconds: float) -> bool:
        return bool(poll.poll(_milliseconds(seconds)))


class Stopped(Exception):
    """A wait ended because the watch shall."""


class StoppablePolling(Polling):
    """The same, until it is stopped.

    A descriptor wakes it, for a thread in poll() listens to nothing else. That one is open as long as this
    object lives: whoever calls `stop()` late must not write into another file that has got the same number.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._wake = -1
        self._pid = -1
        """The process that `_wake` is of; a forked child needs its own, or they would wake each other."""

    def stop(self) -> None:
        """End the wait that there is, and all that follow; in a forked child, those of the child."""
        # First the flag: _ready() looks at it last, so that one of the two sees what the other does.
        self.stopped = True
        if self._pid == os.getpid():
            os.eventfd_write(self._wake, 1)

    def _ready(self, poll: select.poll, seconds: float) -> bool:
        if self._pid != os.getpid():
            self._close()
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._pid = os.getpid()
        if self.stopped:
            raise Stopped
        poll.register(self._wake, select.POLLIN)
        ready = super()._ready(poll, seconds)
        if self.stopped:
            raise Stopped
        return ready

    def _close(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)

    __del__ = _close


def _milliseconds(seconds: float) -> float | None:
    milliseconds = max(seconds * 1000, 0.0)
    return None if milliseconds > LONGEST else milliseconds
