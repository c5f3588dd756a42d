"""What each process of the daemon has told, whoever heard it. Pure.

All that a process tells comes from one store. So it has one epoch for a generation, and within an epoch no
answer is older than what somebody had been told before it was asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple


class Reached(NamedTuple):
    """`revision` was told at `at`."""

    revision: int
    at: float


class Testimony:
    """Everything, by process."""

    def __init__(self) -> None:
        self.batches: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        """The revisions that were told one by one, by process and epoch."""
        self._reached: defaultdict[tuple[int, str], list[Reached]] = defaultdict(list)  # each higher
        self._epochs: defaultdict[tuple[int, int], set[str]] = defaultdict(set)

    def told(self, process: int, epoch: str, revision: int, at: float) -> None:
        """Somebody was told something of this revision."""
        reached = self._reached[process, epoch]
        if not reached or revision > reached[-1].revision:
            reached.append(Reached(revision, at))

    def reached(self, process: int, epoch: str, revision: int) -> Reached | None:
        """When the process was first at `revision` or past it; None: nobody was told so."""
        reached = self._reached[process, epoch]
        index = bisect_left(reached, revision, key=lambda each: each.revision)
        return reached[index] if index < len(reached) else None

    def others(self, process: int, epoch: str, generation: int) -> list[str]:
        """The process tells `generation` as `epoch`: as what else it told it; each epoch is asked of once."""
        epochs = self._epochs[process, generation]
        others = [] if epoch in epochs else sorted(epochs)
        epochs.add(epoch)
        return others
