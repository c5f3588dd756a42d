"""Keeps mirrors whole in forked children: as in a web server that loads the application before it forks.

A fork copies memory as it is at that moment, and of the threads only the one that forks. A lock that another
one holds stays locked for ever in the child, over something half done. So a fork waits until it has the
locks of all keepers; they are held for moments only.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something with a lock, and with something to do in a forked child."""

    @property
    def lock(self) -> threading.RLock:
        """Held while it must not be copied."""

    def forked(self) -> None:
        """Go on in a child, with what was held when the parent forked."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_waiting = threading.Lock()
"""Held from before a fork until after it, and by whoever changes `_known`."""
_held: list[Forkable] = []


def register(one: Forkable) -> None:
    """Keep it whole, for as long as it lives."""
    with _waiting:
        _known.add(one)


def _before() -> None:
    _waiting.acquire()
    for one in list(_known):
        one.lock.acquire()
        _held.append(one)


def _after_in_parent() -> None:
    while _held:
        _held.pop().lock.release()
    _waiting.release()


def _after_in_child() -> None:
    held = _held.copy()
    _after_in_parent()
    for one in held:
        one.forked()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
