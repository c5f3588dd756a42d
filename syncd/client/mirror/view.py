"""The contents of a mirror as they are at one revision, for those who need several keys that fit together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, overload

from syncd.client.mirror.replica import Hold

V = TypeVar("V")
T = TypeVar("T")


def boottime() -> float:
    """Seconds on a clock that everybody on this machine shares, and that goes on while it is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class View(Mapping[str, V]):
    """A mapping that never changes. Taking one copies nothing; the next change after that does, once."""

    __slots__ = ("_data", "_hold", "_proved", "epoch", "revision")

    def __init__(
        self, data: dict[str, V], hold: Hold, revision: int, epoch: str, proved: float | None
    ) -> None:
        self._data = data
        self._hold = hold  # as long as this lives, nobody writes to the dict
        self._proved = proved
        self.revision = revision
        """etcd's revision that it shows."""
        self.epoch = epoch
        """Revisions of different epochs cannot be compared."""

    @property
    def age(self) -> float | None:
        """Seconds since it was proved current, as was known when it was taken; None if it never was."""
        return None if self._proved is None else boottime() - self._proved

    def __getitem__(self, key: str) -> V:
        return self._data[key]

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[str]:
        yield from self._data  # and not iter(): that would outlive the hold

    def __contains__(self, key: object) -> bool:
        return key in self._data

    @overload
    def get(self, key: str, /) -> V | None: ...
    @overload
    def get(self, key: str, /, default: V | T) -> V | T: ...
    def get(self, key: str, /, default: Any = None) -> Any:
        """Return the key's value, or `default` when there is no such key."""
        return self._data.get(key, default)

    def copy(self) -> dict[str, V]:
        """Make a dict of one's own."""
        return self._data.copy()

    def __repr__(self) -> str:
        return f"<View of {len(self)} keys at revision {self.revision}>"
