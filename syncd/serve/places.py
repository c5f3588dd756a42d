"""How many connections there may be, in all and of one user; who comes beyond that is turned away.

So whoever opens more than he should takes nothing from other users, nor from etcd's connections and the files
of the copy, which need descriptors, too.
"""

from __future__ import annotations

import resource
import socket
from collections import Counter

from syncd.serve.tally import Tally

MOST = 16_384
"""Connections in all; an idle one costs some 6 KB."""

RESERVED = 256
"""Descriptors that are left for the rest of the daemon."""

User = int | None
"""A uid; None for everybody who comes through TCP."""


class Places:
    """Places for `limit` connections, at most half of them for one user."""

    def __init__(self, limit: int, tally: Tally) -> None:
        self.limit = limit
        self._tally = tally
        self._taken: Counter[User] = Counter()
        self._all = 0

    def take(self, user: User) -> bool:
        """Take a place, if there is one; the log is told when there is none."""
        if self._all < self.limit and self._taken[user] < max(self.limit // 2, 1):
            self._all += 1
            self._taken[user] += 1
            return True
        self._tally.tell(
            "connections turned away",
            user="tcp" if user is None else user,
            open=self._taken[user],
            open_in_all=self._all,
            limit=self.limit,
            meaning="one user may have half of the limit; close connections, or share them",
        )
        return False

    def give_back(self, user: User) -> None:
        """The connection is closed."""
        self._all -= 1
        self._taken[user] -= 1
        if not self._taken[user]:
            del self._taken[user]


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
