"""Where the answers come from: the mirrored ranges, seen from the serving side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol

from syncd.keyrange import KeyRange
from syncd.serve.errors import ApiError
from syncd.status import RangeStatus, State
from syncd.store import Store


class Source(Protocol):
    """One mirrored range. Whoever keeps it up to date is not the server's business."""

    @property
    def store(self) -> Store:
        """Its records and history."""

    def freshness(self) -> tuple[State, float | None]:
        """Its state, and the seconds since its last proof (None: never)."""

    @property
    def confirmed(self) -> bool:
        """Whether etcd has confirmed what is held, ever since the daemon began."""

    def status(self) -> RangeStatus:
        """All about it."""

    def etcd_revision(self) -> asyncio.Future[int]:
        """etcd's revision now, linearizable; SyncdError when it cannot be had."""

    def accept(self) -> bool:
        """Let through what the range's guard holds back; whether there is anything."""

    def hurry(self) -> None:
        """Somebody waits for a newer revision."""


class Sources:
    """All ranges; they do not overlap."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources)

    def named(self, name: str) -> Source:
        """The range that people call so, or ApiError not_mirrored."""
        for source in self._sources:
            if source.store.keys.name == name:
                return source
        raise self._not_mirrored(f"no range is called {name!r}")

    def covering(self, keys: KeyRange) -> Source:
        """The range in which all of `keys` lie, or ApiError not_mirrored."""
        for source in self._sources:
            if source.store.keys.covers(keys):
                return source
        raise self._not_mirrored(f"{keys.name!r} lies in no mirrored range")

    def _not_mirrored(self, what: str) -> ApiError:
        mirrored = ", ".join(repr(source.store.keys.name) for source in self._sources)
        return ApiError("not_mirrored", what, f"; mirrored are {mirrored}")
