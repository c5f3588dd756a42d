"""Keeps a failure that repeats for hours from filling the log."""

from __future__ import annotations

from collections.abc import Callable

PAUSE = 60.0
"""Seconds between two lines about the same cause."""


class Repeats:
    """Remembers per cause when it was last said, and how often it happened since."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[str, tuple[float | None, int]] = {}

    def worth_saying(self, cause: str) -> int | None:
        """How often `cause` happened unsaid before now, when it is time to say it; else None."""
        now = self._clock()
        at, unsaid = self._said.get(cause, (None, 0))
        if at is not None and now - at < PAUSE:
            self._said[cause] = (at, unsaid + 1)
            return None
        self._said[cause] = (now, 0)
        return unsaid

    def forget(self) -> bool:
        """All is well again: the next failure is news. Whether anything had been said."""
        said = bool(self._said)
        self._said.clear()
        return said
