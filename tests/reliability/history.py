"""What etcd did: every revision since the first, in each *generation*. Pure.

A generation is one unbroken history of etcd. Wiping the cluster, or restoring a snapshot, begins the next
one, which shares the revisions up to `since` with the one before. Every revision of etcd's whole key space is
here, one after the other without a hole, each with the events that made it; so what a range held at any
revision can be told, and compared.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

FIRST_REVISION = 2
"""Revision 1 is etcd's before anything was written."""


class Record(NamedTuple):
    """A key as etcd holds it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class Change(NamedTuple):
    """What etcd says that happened to a key; `kv` None: a delete; `prev` None: etcd did not send it."""

    key: bytes
    kv: Record | None
    prev: Record | None


class Event(NamedTuple):
    """What happened to a key; `kv` is None for a delete, `prev` is what the key held before."""

    key: bytes
    kv: Record | None
    prev: Record | None


class Impossible(Exception):
    """What is to be added cannot follow on what is there: the history would be wrong from here on."""


@dataclass(slots=True)
class _Past:
    """One key's: what it held from each of `revisions` on, None for nothing."""

    revisions: list[int] = field(default_factory=list)
    records: list[Record | None] = field(default_factory=list)

    def at(self, revision: int) -> Record | None:
        index = bisect_right(self.revisions, revision)
        return self.records[index - 1] if index else None

    def until(self, revision: int) -> _Past:
        index = bisect_right(self.revisions, revision)
        return _Past(self.revisions[:index], self.records[:index])


class Generation:
    """One history, complete up to `head`."""

    def __init__(self, number: int, since: int = 1) -> None:
        self.number = number
        self.since = since
        """Up to this revision it is the history of the generation before; 1 is empty in all of them."""
        self.ended = False
        """Whether there is a later one: `head` stays what it is."""
        self._batches: list[tuple[Event, ...]] = []
        self._pasts: dict[bytes, _Past] = {}
        self._keys: list[bytes] = []
        self._acknowledged: list[tuple[float, int]] = []  # by time
        self._highest: list[int] = []  # the highest revision of these up to each
        self._first_own: float | None = None

    @property
    def head(self) -> int:
        """The last revision there is."""
        return len(self._batches) + FIRST_REVISION - 1

    def next(self, since: int) -> Generation:
        """The generation after this one, which has its first `since` revisions."""
        since = max(since, FIRST_REVISION - 1)
        if since > self.head:
            raise Impossible(f"generation {self.number} is known up to {self.head}, not to {since}")
        self.ended = True
        new = Generation(self.number + 1, since)
        new._batches = self._batches[: since + 1 - FIRST_REVISION]
        new._pasts = {key: past.until(since) for key, past in self._pasts.items()}
        new._keys = self._keys[:]
        new._acknowledged = [(at, revision) for at, revision in self._acknowledged if revision <= since]
        new._highest = list(accumulate((revision for _, revision in new._acknowledged), max))
        return new

    def add(self, revision: int, changes: Sequence[Change]) -> None:
        """All that `revision` changed; Impossible unless it is the next one and follows on what is there."""
        if revision != self.head + 1 or not changes:
            raise Impossible(f"revision {revision} with {len(changes)} changes after {self.head}")
        events = tuple(self._event(revision, change) for change in changes)
        if len({event.key for event in events}) < len(events):
            raise Impossible(f"revision {revision} changes a key twice: {changes}")
        for event in events:
            past = self._pasts.get(event.key)
            if past is None:
                past = self._pasts[event.key] = _Past()
                insort(self._keys, event.key)
            past.revisions.append(revision)
            past.records.append(event.kv)
        self._batches.append(events)

    def events(self, revision: int) -> tuple[Event, ...]:
        """What `revision` (up to `head`) changed, in etcd's order."""
        return self._batches[revision - FIRST_REVISION] if revision >= FIRST_REVISION else ()

    def record(self, key: bytes, revision: int) -> Record | None:
        """What `key` held at `revision`."""
        past = self._pasts.get(key)
        return past.at(revision) if past else None

    def state(self, prefix: bytes, revision: int) -> dict[bytes, Record]:
        """What all keys with `prefix` held at `revision`, in key order."""
        held = ((key, self._pasts[key].at(revision)) for key in self.keys(prefix))
        return {key: record for key, record in held if record is not None}

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Every key with `prefix` that there ever was, in order."""
        for index in range(bisect_left(self._keys, prefix), len(self._keys)):
            if not self._keys[index].startswith(prefix):
                return
            yield self._keys[index]

    def acknowledged(self, revision: int, at: float) -> None:
        """A write was acknowledged."""
        index = bisect_right(self._acknowledged, (at, revision))
        self._acknowledged.insert(index, (at, revision))
        del self._highest[index:]  # nearly always at the end
        for _, each in self._acknowledged[index:]:
            self._highest.append(max(each, self._highest[-1] if self._highest else 0))
        self._first_own = at if self._first_own is None else min(self._first_own, at)

    def acknowledged_before(self, at: float) -> int:
        """The highest revision of a write that was acknowledged before `at`; 0 when there was none."""
        index = bisect_left(self._acknowledged, (at, 0))
        return self._highest[index - 1] if index else 0

    def wrote_before(self, at: float) -> bool:
        """Whether a write of this generation's own was acknowledged before `at`."""
        return self._first_own is not None and self._first_own < at

    def _event(self, revision: int, change: Change) -> Event:
        key, kv, told = change
        prev = self.record(key, revision - 1)
        if told is not None and told != prev:
            raise Impossible(f"revision {revision}: etcd says {told} was before, the history says {prev}")
        if kv is None:
            follows = prev is not None
        else:
            created, version = (prev.create_revision, prev.version + 1) if prev else (revision, 1)
            follows = (kv.create_revision, kv.mod_revision, kv.version) == (created, revision, version)
        if not follows:
            raise Impossible(f"revision {revision}: {change} cannot follow on {prev}; an event was lost")
        return Event(key, kv, prev)


class History:
    """All generations; the judge writes the last one, the rules ask about all."""

    def __init__(self) -> None:
        self._generations = [Generation(0)]

    @property
    def generation(self) -> int:
        """The number of the current one."""
        return self.current.number

    @property
    def current(self) -> Generation:
        """The one that etcd is in now."""
        return self._generations[-1]

    def of(self, number: int) -> Generation:
        """The one with this number; KeyError when there is none."""
        if not 0 <= number < len(self._generations):
            raise KeyError(number)
        return self._generations[number]

    def begin(self, since: int) -> int:
        """Begin the next generation, which keeps what happened up to `since`; its number.

        To be called when every member has stopped and none was started again; all that the old members told
        anybody must be here by then (`Judge.caught_up`), and all of its writes acknowledged.
        """
        self._generations.append(self.current.next(since))
        return self.generation

    def shared(self, one: int, other: int) -> int:
        """The last revision that two generations have in common."""
        low, high = sorted((one, other))
        if low == high:
            return self.of(low).head
        return min(self.of(number).since for number in range(low + 1, high + 1))

    def acknowledged(self, revision: int, at: float) -> None:
        """A write to /c/ in the current generation was acknowledged by etcd at `at`, or before."""
        self.current.acknowledged(revision, at)

    def lacks(self, number: int, revision: int, before: float) -> str:
        """What of all that was acknowledged `before` a state of `revision` lacks; '' for nothing."""
        newest = self.of(number).acknowledged_before(before)
        if newest > revision:
            return f"revision {newest} of generation {number} was acknowledged by then"
        for later in self._generations[number + 1 :]:
            if later.wrote_before(before):
                return f"generation {later.number} had been written to by then"
        return ""
