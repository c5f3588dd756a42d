"""What there is to look at in a mirror, whatever keeps it: the mapping, and how fresh it is."""

from __future__ import annotations

import math
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Generic, Protocol, TypedDict, TypeVar, overload

from syncd.client.errors import ClientError
from syncd.client.mirror.keeper import Keeper, State
from syncd.client.mirror.replica import DecodeError
from syncd.client.mirror.updates import Update
from syncd.client.mirror.view import View
from syncd.client.query import DEFAULT_HEARTBEAT, duration, selection
from syncd.client.reader import SocketPath

V = TypeVar("V")
T = TypeVar("T")
Prefix = str | bytes

SELDOM = 5.0
"""Seconds until what would fail again is tried again: somebody may have mended it."""


class Loads(Protocol):
    """A module such as json, or an object, that decodes with `loads`."""

    @property
    def loads(self) -> Callable[[bytes], Any]:
        """Makes a value of bytes."""


class MirrorOptions(TypedDict, Generic[V], total=False):
    """How to keep a mirror."""

    key: Prefix | None
    """Mirror this key alone, in place of a prefix."""
    on_change: Callable[[Update[V]], object] | None
    """Called with each update, from the first contents on; see `subscribe`."""

    socket_path: SocketPath | None
    """By default $SYNCD_SOCKET, then /run/syncd/syncd.sock."""
    heartbeat: float
    """Seconds between the daemon's words while nothing changes; so often does the age begin anew."""
    on_error: Callable[[DecodeError], object] | None
    """Called with each value that cannot be decoded; by default, there is a warning in the log."""


class WatchFor(TypedDict):
    """What a mirror asks a client's `watch` for, each time after what it has."""

    prefix: Prefix | None
    key: Prefix | None
    with_snapshot: bool
    heartbeat: float
    patience: float
    blocks: bool


class Mirrored(Mapping[str, V]):
    """The keys under a prefix, or a single `key`, and their values as they are now; a read-only mapping.

    Every lookup is as of one whole revision, and never of an older one than a lookup before it, unless it is
    of another epoch: etcd was restored, or the daemon has an older copy of it. Whoever needs
    several keys of one revision takes a `snapshot()`, as do iterations and `items()`. The keys come in no
    particular order. A key that is not UTF-8 has surrogate escapes (PEP 383) for its odd bytes.

    There is no key to look up before the first contents have come: everything but the properties then raises
    NotReadyError. From then on, what came last is there, whatever happens to the daemon or to etcd; `age` and
    `state` tell how far to trust it.

    `decode`, a function or a module such as json, makes the values; without it they are bytes. What it makes
    is shared by all readers. A value that it fails on is reported, the last good one of the key is kept, and
    `failures` names the key until a good one comes.
    """

    def __init__(
        self,
        prefix: Prefix | None,
        decode: Any,
        *,
        key: Prefix | None = None,
        on_change: Callable[[Update[V]], object] | None = None,
        on_error: Callable[[DecodeError], object] | None = None,
        socket_path: SocketPath | None = None,
        heartbeat: float = DEFAULT_HEARTBEAT,
    ) -> None:
        name = selection(prefix, key).start.decode("utf-8", "surrogateescape")
        self._socket_path = socket_path
        self._watch_for: WatchFor = {
            "prefix": prefix,
            "key": key,
            "with_snapshot": True,
            "heartbeat": duration("heartbeat", heartbeat),
            "patience": math.inf,
            "blocks": True,
        }
        self._keeper: Keeper[V] = Keeper(name, getattr(decode, "loads", decode), on_error, heartbeat)
        self._replica = self._keeper.replica
        if on_change is not None:
            self._keeper.subscribe(on_change)

    def __getitem__(self, key: str) -> V:
        return self._replica.data[key]

    def __contains__(self, key: object) -> bool:
        return key in self._replica.data

    def __len__(self) -> int:
        return len(self._replica.data)

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshot())

    @overload
    def get(self, key: str, /) -> V | None: ...
    @overload
    def get(self, key: str, /, default: V | T) -> V | T: ...
    def get(self, key: str, /, default: Any = None) -> Any:
        """Return the key's value, or `default` when there is no such key."""
        return self._replica.data.get(key, default)

    def keys(self) -> KeysView[str]:
        """All keys at one revision."""
        return self.snapshot().keys()

    def items(self) -> ItemsView[str, V]:
        """All keys and values at one revision."""
        return self.snapshot().items()

    def values(self) -> ValuesView[V]:
        """All values at one revision."""
        return self.snapshot().values()

    def snapshot(self, max_age: float | None = None) -> View[V]:
        """Return everything as it is at one revision; changes don't reach it.

        That takes no longer for many keys. TooStaleError rather than contents that were proved current more
        than `max_age` seconds ago.
        """
        return self._keeper.view(max_age)

    def subscribe(self, callback: Callable[[Update[V]], object]) -> Callable[[], None]:
        """Have `callback` called with each update from now on; returns what ends that.

        It is called in the background, which does nothing else meanwhile: what takes long belongs into a
        thread or task of its own, which reads `changes()`. When it raises, the log tells, and all goes on.
        A snapshot that is taken afterwards has all updates up to its revision in it.
        """
        return self._keeper.subscribe(callback)

    @property
    def revision(self) -> int:
        """etcd's revision that this has come to; 0 before the first contents."""
        return self._replica.revision

    @property
    def epoch(self) -> str:
        """Revisions of different epochs cannot be compared."""
        return self._replica.epoch

    @property
    def age(self) -> float | None:
        """Seconds since the contents were last proved current; None if they never were."""
        return self._keeper.age

    @property
    def state(self) -> State:
        """The daemon's word for the range; `stale` too while this has not come as far as the daemon.

        So is it when a heartbeat of the daemon's is more than a second late: `live` is no older than the
        daemon's heartbeat and this mirror's and that second.
        """
        return self._keeper.state

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the daemon."""
        return self._keeper.connected

    @property
    def error(self) -> ClientError | None:
        """Why there is no connection; None while there is one, or the first one is being made."""
        return self._keeper.error

    @property
    def failures(self) -> dict[str, DecodeError]:
        """The keys whose newest value cannot be decoded, and why."""
        return self._keeper.failures()

    def __repr__(self) -> str:
        prefix, replica = self._keeper.prefix, self._replica
        held = f"{len(replica.data)} keys at revision {replica.revision}" if replica.ready else "nothing yet"
        return f"<{type(self).__name__} of {prefix!r}: {held}, {self.state}>"
