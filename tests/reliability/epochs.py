"""Which generation an epoch of syncd's belongs to: the marker keys tell. Pure.

In each group a key holds the number of the generation, written before the daemon can see anything of it. So
whatever a reader is told under an epoch belongs to the generation that the markers told under it name. Two
of them under one epoch mean that revisions were compared which cannot be; unless all that was told
before is of the past which the two have in common.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.reliability.history import History

MARKER = b"/!generation"
"""How the keys end that hold a generation's number."""


class Epochs:
    """What is known so far."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._generations: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def generation(self, epoch: str) -> int | None:
        """The generation of `epoch`, None while no marker was told under it."""
        return self._generations.get(epoch)

    def told(self, epoch: str, revision: int) -> None:
        """`revision` was told by something that would have told another marker first."""
        if revision > self._told.get(epoch, 0):
            self._told[epoch] = revision

    def learn(self, epoch: str, revision: int, puts: Iterable[tuple[bytes, bytes]]) -> str:
        """What keys held at `revision`; what is wrong with that, '' for nothing."""
        return "; ".join(
            filter(None, [self._mark(epoch, revision, value) for key, value in puts if key.endswith(MARKER)])
        )

    def _mark(self, epoch: str, revision: int, value: bytes) -> str:
        if not value.isdigit() or int(value) > self._history.generation:
            return f"a marker holds {value!r}, but generation {self._history.generation} is the last"
        marked, known = int(value), self._generations.setdefault(epoch, int(value))
        if marked == known:
            return ""
        shared = self._history.shared(marked, known)
        if marked < known:
            # An old line, read late: right when it is of the common past.
            return "" if revision <= shared else f"generation {marked} after generation {known}"
        self._generations[epoch] = marked
        if self._told.get(epoch, 0) <= shared:
            return ""
        return (
            f"the epoch of generation {known} goes on as one of generation {marked}; they have in common "
            f"only what is up to {shared}, and {self._told[epoch]} was told before"
        )
