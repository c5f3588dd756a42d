"""Places for what others open here, some for each user; of who finds none the log is told.

So whoever opens more than he should takes nothing from other users, nor from etcd's connections and the files
of the copy, which need descriptors, too.
"""

from __future__ import annotations

import resource
import socket

from syncd.serve.budget import Budget, User
from syncd.serve.tally import Tally

MOST = 16_384
"""Connections in all; an idle one costs some 6 KB."""

RESERVED = 256
"""Descriptors that are left for the rest of the daemon."""

WATCHES = 8192
"""Open watches in all. One of the local API holds a connection, a task and some 30 KB."""

SLOW = 4096
"""Connections whose reader does not take what is written: some 300 KB of each wait, or a large value."""


class Places(Budget):
    """Places for `limit` of something; `event` is what the log is told of who finds none."""

    def __init__(self, limit: int, tally: Tally, event: str) -> None:
        super().__init__(limit)
        self._tally = tally
        self._event = event

    def take(self, user: User, amount: int = 1) -> bool:
        """Take so many places, if they are left for this user."""
        if super().take(user, amount):
            return True
        self._tally.tell(
            self._event,
            user="tcp" if user is None else user,
            open=self.of(user),
            open_in_all=self.taken,
            limit=self.limit,
            meaning="one user may have as many as are left free, half if alone; close some, or share them",
        )
        return False


class Held(socket.socket):
    """A connection's socket, which gives its place back when it is closed, whoever does that, and why."""

    def __init__(self, accepted: socket.socket, places: Places, user: User) -> None:
        self._places: Places | None = places
        self._user = user
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())

    def close(self) -> None:
        """Close it."""
        super().close()
        places, self._places = self._places, None
        if places:
            places.give_back(self._user)


def enough() -> int:
    """How many places there can be: what the limit on open files leaves, which the daemon has raised."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST, max(soft - RESERVED, soft // 2, 1))
