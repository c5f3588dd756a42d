"""What a mirror tells of its changes: `KeyChange`, `Update`, and the `Feed` of one who reads them. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, Literal, TypeVar

import msgspec

V = TypeVar("V")

BACKLOG = 1000
"""Updates that wait for a reader one by one; more than a daemon sends while a reader does some work."""


class KeyChange(msgspec.Struct, Generic[V], frozen=True):
    """One key has another value: `old` is None when it was added, `value` when it was removed."""

    key: str
    kind: Literal["added", "changed", "removed"]
    value: V | None
    old: V | None
    revision: int


class Update(msgspec.Struct, Generic[V], frozen=True):
    """All that one step of a mirror changed, which everybody sees at once: usually one revision of etcd.

    With `gap`, it leads over several revisions, of which it tells the difference, each key once: the first
    read of everything, a resync of the daemon's, changes that the daemon no longer had, or more of them than
    this reader took.
    """

    revision: int
    epoch: str
    changes: tuple[KeyChange[V], ...]
    gap: bool = False


class Feed(Generic[V]):
    """The updates that one reader has not taken yet, oldest first.

    Past `BACKLOG` of them they are put together into one with a gap. That has a key once at most, and none
    that came and went: however long a reader sleeps, it takes no more than what was mirrored then and is now.
    """

    def __init__(self) -> None:
        self._updates: deque[Update[V]] = deque()

    def put(self, update: Update[V]) -> None:
        """Add the newest."""
        self._updates.append(update)
        if len(self._updates) > BACKLOG:
            self._updates = deque([joined(self._updates)])

    def peek(self) -> Update[V] | None:
        """Return the oldest without taking it."""
        return self._updates[0] if self._updates else None

    def take(self) -> Update[V] | None:
        """Take the oldest."""
        return self._updates.popleft() if self._updates else None


def joined(updates: Iterable[Update[V]]) -> Update[V]:
    """Put updates that follow each other together: the difference from before the first to after the last."""
    last = None
    firsts: dict[str, KeyChange[V]] = {}
    lasts: dict[str, KeyChange[V]] = {}
    for last in updates:
        for change in last.changes:
            firsts.setdefault(change.key, change)
            lasts[change.key] = change
    if last is None:
        raise ValueError("no updates to put together")
    changes = tuple(net for key, first in firsts.items() if (net := _net(first, lasts[key])))
    return Update(last.revision, last.epoch, changes, gap=True)


def _net(first: KeyChange[V], last: KeyChange[V]) -> KeyChange[V] | None:
    if first is last:
        return first
    match first.kind != "added", last.kind != "removed":
        case False, False:
            return None
        case False, True:
            return KeyChange(last.key, "added", last.value, None, last.revision)
        case True, False:
            return KeyChange(last.key, "removed", None, first.old, last.revision)
        case _:
            return KeyChange(last.key, "changed", last.value, first.old, last.revision)
