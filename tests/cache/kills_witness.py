"""A page of memory that a daemon shares with whoever kills it: what it was at stands there when it is gone.

What a process has written to a shared mapping outlives SIGKILL, and to look at it costs the daemon nothing.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from time import monotonic
from typing import NamedTuple

VARIABLE = "SYNCD_TESTS_WITNESS"
"""The environment variable that tells a daemon where the page is."""


FORGET = 1.2
"""By how much longer the shortest time counts each time."""


class Phase(IntEnum):
    """What a daemon may be at; some of them at a time."""

    READING = 0
    """The first full read: there was nothing on disk."""
    REREADING = 1
    """A full read while an older state is served."""
    MAKING = 2
    """A new file."""
    COMMITTING = 3
    """Writing to a file, in one transaction or in several."""
    SWEEPING = 4
    """Some of the file's blocks are newer than the others: also between two commits."""


class Committed(NamedTuple):
    """What a daemon was told to be on the disk; `epoch`: the part of its name that is a time, 0: nothing."""

    epoch: int
    revision: int


_FLAGS = 0
_TAKES = struct.Struct("d")
_TAKES_AT = 64
_COMMITTED = struct.Struct("QQ")
_COMMITTED_AT = 128


class Witness:
    """The page in the file at `path`, which is made if need be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("a+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._began: dict[Phase, float] = {}

    def at(self, phase: Phase) -> bool:
        """Whether the daemon is at it, or was when it ended."""
        return bool(self._page[_FLAGS + phase])

    def phases(self) -> set[Phase]:
        """All that it is at."""
        return {phase for phase in Phase if self.at(phase)}

    def takes(self, phase: Phase) -> float:
        """Seconds: about the shortest that it took of late, also in earlier daemons; 0 when nobody knows."""
        seconds: float = _TAKES.unpack_from(self._page, _TAKES_AT + phase * _TAKES.size)[0]
        return seconds

    def set(self, phase: Phase, *, on: bool) -> None:
        """It is at it from now on, or no longer."""
        if on == self.at(phase):
            return
        self._page[_FLAGS + phase] = on
        if on:
            self._began[phase] = monotonic()
            return
        took, before = monotonic() - self._began[phase], self.takes(phase)
        shortest = min(took, FORGET * before) if before else took
        _TAKES.pack_into(self._page, _TAKES_AT + phase * _TAKES.size, shortest)

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """It is at it until this is left."""
        self.set(phase, on=True)
        try:
            yield
        finally:
            self.set(phase, on=False)

    @property
    def committed(self) -> Committed:
        """What the daemon was told last to be on the disk."""
        return Committed(*_COMMITTED.unpack_from(self._page, _COMMITTED_AT))

    def commit(self, epoch: str, revision: int) -> None:
        """That is on the disk now."""
        # Whoever is killed between these two has said nothing.
        _COMMITTED.pack_into(self._page, _COMMITTED_AT, 0, 0)
        _COMMITTED.pack_into(self._page, _COMMITTED_AT, epoch_time(epoch), revision)

    def forget(self) -> None:
        """There is no daemon any more; how long it took for what stays known."""
        self._page[_FLAGS : _FLAGS + len(Phase)] = bytes(len(Phase))
        _COMMITTED.pack_into(self._page, _COMMITTED_AT, 0, 0)


def epoch_time(epoch: str) -> int:
    """The part of an epoch's name that is a time."""
    return int(epoch.rpartition("-")[2], 16)
