"""Whether what etcd says now may be a disaster: far fewer keys than a moment ago. Pure.

A wiped etcd, a restore from the wrong backup, `etcdctl del --prefix` on the wrong prefix: to follow them at
once takes the configuration from every process of every host. A guarded range does not follow before somebody
has said so, or the keys are back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from syncd.errors import SyncdError

WINDOW = 60.0
"""Seconds in which deletes are added up: a script that deletes one key after the other is one disaster."""


@dataclass(frozen=True, slots=True)
class Shrink:
    """Of `keys` only `would_be` would be left, at `revision`."""

    keys: int
    would_be: int
    revision: int


class Shrunk(SyncdError):
    """The range would lose more keys than it may."""

    def __init__(self, shrink: Shrink, max_shrink: float) -> None:
        super().__init__(
            f"held: at revision {shrink.revision}, of {shrink.keys} keys {shrink.would_be} would be left; "
            f"guard.max_shrink is {max_shrink:.0%}"
        )
        self.shrink = shrink
        self.max_shrink = max_shrink


class Guard:
    """One range's. It may lose `max_shrink` of its keys within WINDOW, from 0.0 to 1.0; None: all of them."""

    def __init__(self, max_shrink: float | None) -> None:
        self._max_shrink = max_shrink
        self._count = 0
        self._before: deque[tuple[int, int]] = deque()
        """Until which second there were how many keys; each time fewer, so the first is the most."""

    @property
    def on(self) -> bool:
        """Whether anything is ever held."""
        return self._max_shrink is not None

    def begin(self, count: int) -> None:
        """There are `count` keys, and what was before does not count: the start, or somebody says so."""
        self._before.clear()
        self._count = count

    def counted(self, now: float, count: int) -> None:
        """There are `count` keys from `now` on."""
        if self._max_shrink is None or count == self._count:
            return
        while self._before and self._before[-1][1] <= self._count:
            self._before.pop()
        second = int(now) + 1  # by whole seconds, so that deletes without end do not fill the memory
        if not (self._before and self._before[-1][0] == second):
            self._before.append((second, self._count))
        self._count = count

    def check(self, now: float, count: int, revision: int) -> None:
        """Shrunk if there must not be only `count` keys from `now` on."""
        if self._max_shrink is None:
            return
        while self._before and self._before[0][0] < now - WINDOW:
            self._before.popleft()
        shrink = Shrink(max(self._count, self._before[0][1] if self._before else 0), count, revision)
        if not self.allows(shrink):
            raise Shrunk(shrink, self._max_shrink)

    def allows(self, shrink: Shrink) -> bool:
        """Whether that may be."""
        if self._max_shrink is None:
            return True
        may_go = round(self._max_shrink * shrink.keys, 6)  # 0.29 * 100 is a little less than 29
        return shrink.keys - shrink.would_be <= may_go
