"""What a watch may be told: etcd's own guarantees, line by line. Pure.

A watch has a *place*: the epoch and revision up to which its reader has been told everything. Each line moves
it on, and what lies between is compared with the history:

    filter        only what was asked for, and no line about nothing
    ordered       revisions go up; within one, etcd's order
    unique        nothing twice
    atomic        all of a revision in one line
    reliable      nothing left out, nothing that etcd did not do
    resumable     the same, for the first line after an earlier watch's place
    bookmarkable  after progress, nothing at or below it; a progress never falls
    prev_kv       what a key held before, when asked for
    resync        what its reader holds then is what etcd held at its revision; and there was a gap
    snapshot      what etcd held at its revision, in key order, and its end
    epoch         two generations never have the same one, and one has one for each process
    heartbeat     a quiet watch says so, every `heartbeat_ms`
    live, age     see `court`

What is told may be ahead of the judge: it waits here until the truth is known. How a watch may end is told in
`docket` and `refusals`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from tests.reliability.court import Court, Place
from tests.reliability.history import Event, Generation, Record
from tests.reliability.snapshots import judge_snapshot
from tests.reliability.told import Batch, Progress, Selection, Snapshot, Told

SILENCE_SECONDS = 10.0
"""How much later than due a line may come: the machine is busy. A forgotten watch is silent for ever."""

Change = tuple[bytes, Record | None]
"""A key, and what it holds now."""


class Unknown(NamedTuple):
    """What `reader` was told could not be judged, as the truth about `place` is not known."""

    reader: str
    told: object
    at: float
    place: Place


class Watch:
    """One stream of `process`. It begins at `place`, or with a snapshot.

    `resumed`: the place is an earlier stream's.
    """

    def __init__(
        self,
        court: Court,
        reader: str,
        selection: Selection,
        place: Place | None = None,
        *,
        resumed: bool = False,
        process: int = 0,
    ) -> None:
        self._court = court
        self._process = process
        self.reader = reader
        self._selection = selection
        self._heard: deque[tuple[Batch | Progress | Snapshot, float]] = deque()
        self._heard_place = place
        self._place = place or Place("", 0)
        self._resumed = resumed
        self._progress = 0
        self._heard_at: float | None = None
        # What the batch at the place changed, if it was one.
        self._last: frozenset[Change] = frozenset()

    @property
    def heard_place(self) -> Place | None:
        """Where the reader is, judged or not: what it resumes from."""
        return self._heard_place

    @property
    def waiting(self) -> int:
        """Lines that are not judged yet."""
        return len(self._heard)

    @property
    def stuck(self) -> Unknown | None:
        """What can't be judged, and keeps all that was heard after it from being judged."""
        if not self._heard:
            return None
        told, at = self._heard[0]
        place = Place(getattr(told, "epoch", "") or self._place.epoch, told.revision)
        if not isinstance(told, Snapshot) and self._court.generation(*self._place) is None:
            place = self._place
        return Unknown(self.reader, told, at, place)

    def hear(self, told: Batch | Progress | Snapshot, at: float) -> None:
        """The next line, read at `at`."""
        match told:
            case Snapshot(epoch=epoch, records=records):
                puts = [] if told.keys_only else [(record.key, record.value) for record in records]
            case Batch(resync=True, epoch=epoch, events=events):
                puts = _puts(events)
            case _:
                epoch, puts = self._heard_place.epoch if self._heard_place else "", []
                if isinstance(told, Batch):
                    puts = _puts(told.events)
                    self._court.testimony.batches[self._process, epoch].add(told.revision)
        if wrong := self._court.epochs.learn(epoch, told.revision, puts):
            self._court.tally.violated("epoch", self.reader, told, wrong, at, epoch, told.revision)
        self._court.testimony.told(self._process, epoch, told.revision, at)
        if self._selection.only != "delete":  # such a watch would not be told a marker first
            self._court.epochs.told(epoch, told.revision)
        self._heard_place = Place(epoch, told.revision)
        self._heard.append((told, at))
        self._heard_at = at

    def wait(self, now: float, heartbeat: float) -> None:
        """Its reader listens, and has heard no more until `now`; a line is due every `heartbeat` seconds."""
        if self._heard_at is None:
            self._heard_at = now
        silent = now - self._heard_at
        if silent > heartbeat + SILENCE_SECONDS:
            self._violated("heartbeat", f"nothing for {silent:.1f} s", f"a line every {heartbeat:g} s", now)
            self._heard_at = now

    def judge(self) -> None:
        """Judge what can be judged."""
        while self._heard and self._judged(*self._heard[0]):
            self._heard.popleft()

    def _judged(self, told: Batch | Progress | Snapshot, at: float) -> bool:
        match told:
            case Snapshot():
                return self._snapshot(told, at)
            case Batch(resync=True):
                return self._resync(told, at)
            case Batch():
                return self._batch(told, at)
        return self._progressed(told, at)

    def _snapshot(self, told: Snapshot, at: float) -> bool:
        generation = self._court.generation(told.epoch, told.revision)
        if generation is None:
            return False
        self._court.judge_epoch(self.reader, at, self._process, told.epoch, told.revision, generation)
        judge_snapshot(self._court, self.reader, self._selection.prefix, told, generation, at)
        self._court.tally.snapshots += 1
        self._move(told.epoch, told.revision)
        return True

    def _batch(self, told: Batch, at: float) -> bool:
        place, revision = self._place, told.revision
        generation = self._court.generation(place.epoch, max(place.revision, revision))
        if generation is None:
            return False
        changes = frozenset((event.key, event.kv) for event in told.events)
        if revision <= self._progress:
            self._violated("bookmarkable", told, f"progress {self._progress} was told before", at)
        elif revision < place.revision:
            self._violated("ordered", told, f"{place.revision} was told before", at)
        elif revision == place.revision:
            rule = "unique" if changes & self._last or not self._last else "atomic"
            self._violated(rule, told, f"{revision} was told before", at)
        else:
            self._nothing_missed(generation, revision - 1, told, at)
            self._compare(told, self._selected(generation.events(revision)), at)
            self._move(place.epoch, revision, changes)
        self._court.tally.batches += 1
        self._court.tally.events += len(told.events)
        return True

    def _compare(self, told: Batch, true: list[Event], at: float) -> None:
        heard, happened = [(e.key, e.kv) for e in told.events], [(e.key, e.kv) for e in true]
        if heard != happened or not heard:
            self._violated(self._broken(heard, happened), told, true or "nothing of interest", at)
            return
        for event, real in zip(told.events, true, strict=True):
            if event.revision != told.revision:
                self._violated("reliable", event, f"revision {told.revision}", at)
            if event.prev != (prev := real.prev if self._selection.prev_kv else None):
                self._violated("prev_kv", event, prev, at)

    def _broken(self, heard: list[Change], happened: list[Change]) -> str:
        """The rule that was broken where `heard` is not what `happened`."""
        if not heard or any(not self._wants(key, kv) for key, kv in heard):
            return "filter"
        if len(set(heard)) < len(heard):
            return "unique"
        if set(heard) == set(happened):
            return "ordered"
        return "atomic" if set(heard) < set(happened) else "reliable"

    def _progressed(self, told: Progress, at: float) -> bool:
        place, revision = self._place, told.revision
        generation = self._court.generation(place.epoch, max(place.revision, revision))
        if generation is None:
            return False
        if revision < place.revision:
            self._violated("bookmarkable", told, f"{place.revision} was told before", at)
        else:
            self._nothing_missed(generation, revision, told, at)
            self._move(place.epoch, revision, self._last if revision == place.revision else frozenset())
            self._progress = revision
        self._court.judge_state(self.reader, at, place.epoch, revision, told.state, told.age_ms)
        self._court.tally.progresses += 1
        return True

    def _resync(self, told: Batch, at: float) -> bool:
        place = self._place
        before = self._court.generation(place.epoch, place.revision)
        after = self._court.generation(told.epoch, told.revision)
        if before is None or after is None:
            return False
        self._court.judge_epoch(self.reader, at, self._process, told.epoch, told.revision, after)
        if told.epoch == place.epoch and told.revision < place.revision:
            self._violated("bookmarkable", told, f"{place.revision} was told before", at)
        elif told.epoch == place.epoch and (kept := self._kept(after, told.revision)):
            self._violated("resync", told, kept, at)
        prefix = self._selection.prefix
        then, now = before.state(prefix, place.revision), after.state(prefix, told.revision)
        for wrong in self._unlike(told, then, now):
            self._violated("resync", told, wrong, at, told.epoch)
        for event in told.events:
            # What is left out is no lie: the daemon may not know any more what it told this reader.
            if (prev := event.prev) is None:
                continue
            # With a filter, the reader was not told of all that happened to a key.
            held = (
                then.get(event.key)
                if self._selection.only is None
                else before.record(event.key, prev.mod_revision)
            )
            if prev != held or not self._selection.prev_kv:
                self._violated("prev_kv", event, held, at, told.epoch)
        self._court.tally.resyncs += 1
        self._move(told.epoch, told.revision)
        return True

    def _kept(self, generation: Generation, until: int) -> str:
        """Why the daemon must still have known each change up to `until`, so that nothing was lost; or ''.

        Not when it may have read anew: only if it told each of them to somebody is that certain.
        """
        changed = self._court.changed(generation, self._place.revision, until)
        told = self._court.testimony.batches[self._process, self._place.epoch]
        count = sum(changed.values())
        if count > self._court.history_events or not changed.keys() <= told:
            return ""
        return f"only {count} events since {self._place.revision}, each told by the same process to somebody"

    def _unlike(self, told: Batch, then: dict[bytes, Record], now: dict[bytes, Record]) -> Iterable[str]:
        """What is wrong if a reader that held `then` is told `told` and shall hold `now`."""
        said = {event.key: event.kv for event in told.events}
        if len(said) < len(told.events):
            yield "a key twice"
        for event in told.events:
            if not self._wants(event.key, event.kv):
                yield f"{event} was not asked for"
            elif event.kv != now.get(event.key):
                yield f"{event.key!r} is {now.get(event.key)}"
        if self._selection.only != "delete":
            for key, record in now.items():
                if then.get(key) != record and key not in said:
                    yield f"{record} is new and was left out"
        if self._selection.only != "put":
            for key in then:
                if key not in now and key not in said:
                    yield f"{key!r} is gone and was left out"

    def _nothing_missed(self, generation: Generation, until: int, told: Batch | Progress, at: float) -> None:
        for revision in range(self._place.revision + 1, until + 1):
            if missed := self._selected(generation.events(revision)):
                rule = "resumable" if self._resumed else "reliable"
                self._violated(rule, told, f"revision {revision} was left out: {missed}", at)
                return

    def _selected(self, events: Iterable[Event]) -> list[Event]:
        return [event for event in events if self._wants(event.key, event.kv)]

    def _wants(self, key: bytes, kv: Record | None) -> bool:
        only = self._selection.only
        return key.startswith(self._selection.prefix) and (only is None or (kv is None) == (only == "delete"))

    def _move(self, epoch: str, revision: int, last: frozenset[Change] = frozenset()) -> None:
        if epoch != self._place.epoch:
            self._progress = 0
        self._place, self._last, self._resumed = Place(epoch, revision), last, False

    def _violated(self, rule: str, told: object, true: object, at: float, epoch: str = "") -> None:
        place = self._place
        revision = getattr(told, "revision", place.revision)
        self._court.tally.violated(rule, self.reader, told, true, at, epoch or place.epoch, revision)


def _puts(events: Iterable[Told]) -> list[tuple[bytes, bytes]]:
    return [(event.key, event.kv.value) for event in events if event.kv is not None]
