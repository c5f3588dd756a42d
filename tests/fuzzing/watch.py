"""A watch's stream, from its bytes to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import zip_longest
from typing import Any, cast

from syncd.gateway import GatewayError, WatchResult, WatchStream
from syncd.gateway.endpoints import Endpoint
from syncd.gateway.framing import Documents
from syncd.keyrange import prefix_range
from syncd.records import Event, Record
from syncd.store import Cursor, Store, StoreError
from syncd.sync.revisions import Disordered, Revisions
from tests.fuzzing.inputs import Choices, cuttings
from tests.gateway.wire import document
from tests.store.model import (
    EVERYTHING,
    UNBOUNDED,
    Model,
    Replica,
    contents,
    in_order,
    new_store,
    read,
    small_blocks,
)

LIMIT = 1024
"""Bytes of a document; small, so that inputs reach it."""

Outcome = tuple[list[WatchResult], type[GatewayError], str]
"""The results of a stream, and the error that ended it."""


class _Body:
    """An HTTP response whose body comes in `pieces`."""

    def __init__(self, pieces: Sequence[bytes], limit: int) -> None:
        self.content = self
        self.documents = Documents(limit)
        self._limit = limit
        self._pieces = iter(pieces)

    async def readany(self) -> bytes:
        held = len(self.documents._buffer)
        assert held <= self._limit, f"{held} bytes are held, the limit is {self._limit}"
        return next(self._pieces, b"")


def received(pieces: Sequence[bytes], limit: int = LIMIT) -> Outcome:
    """What a WatchStream makes of `pieces`; any error but a GatewayError is raised."""
    body = _Body(pieces, limit)
    stream = WatchStream(Endpoint("http://etcd:2379"), cast("Any", body), None, heard=lambda _: None)
    stream._documents = body.documents
    results: list[WatchResult] = []
    error: GatewayError | None = None
    try:
        for result in _without_waiting(stream):
            results.append(result)  # noqa: PERF402 - what came before the error counts
    except GatewayError as raised:
        error = raised
    assert error is not None, "a watch has ended without an error"
    assert len(str(error)) < 2000
    str(error).encode()  # it is going to be logged, and told as JSON
    return results, type(error), str(error)


def _without_waiting(stream: AsyncIterator[WatchResult]) -> Iterator[WatchResult]:
    while True:
        try:
            stream.__anext__().__await__().__next__()
        except StopIteration as returned:
            yield returned.value
        else:
            raise AssertionError("a watch waits, though its body does not")


def stream(data: bytes) -> None:
    """Any bytes as the body of a watch: any cutting gives the same, and the store believes no nonsense."""
    first, *others = (received(pieces) for pieces in cuttings(data, LIMIT))
    for other in others:
        assert other == first
    with small_blocks():
        Follower(new_store()).follow(first[0])


class Follower:
    """Takes results into a store as the mirror does, beside a plain dict and a reader with a cursor."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.expected = contents(store)
        self.refused: Disordered | StoreError | None = None
        self._revisions = Revisions(store.revision)
        self._replica = Replica(self.expected)
        self._replica.revision = store.revision
        self._cursor: Cursor = store.cursor(EVERYTHING)

    def follow(self, results: Sequence[WatchResult]) -> None:
        """Take in `results`, until one is refused."""
        before = self.store.view()
        then = dict(self.expected)
        try:
            for result in results:
                self._take(result)
        except (Disordered, StoreError) as error:
            self.refused = error
        self.check()
        assert contents(before) == then

    def _take(self, result: WatchResult) -> None:
        if result.is_progress:
            before = self.store.revision
            self.store.advance(result.header.revision)
            assert self.store.revision == max(before, result.header.revision)
            return
        events = [Event(event.kv, deleted=event.type == "DELETE") for event in result.events]
        for revision, changes in self._revisions.add(events, fragment=result.fragment):
            assert all(change.kv.mod_revision == revision for change in changes)
            self.store.apply(revision, changes)
            for change in changes:
                held = self.expected.pop(change.kv.key, None)
                if change.deleted:
                    assert held, "a key that was not there is gone"
                else:
                    assert change.kv.version == (held.version if held else 0) + 1, "a change was lost"
                    self.expected[change.kv.key] = change.kv

    def check(self) -> None:
        """The store is what the accepted events make of it, also for a reader that follows."""
        store = self.store
        held = contents(store)
        assert list(held) == sorted(self.expected)
        assert held == self.expected
        assert store.count == len(held)
        assert store.size == sum(len(record.key) + len(record.value) for record in held.values())
        assert all(record.mod_revision <= store.revision for record in held.values())
        while batches := self._cursor.read(2):
            self._replica.follow(batches)
        assert self._replica.state == held

    def read_anew(self, etcd: Model, choices: Choices) -> bool:
        """A full read, now and then with a record that is not etcd's; whether it was taken, and right."""
        records = in_order(etcd.state)
        if records and choices.once_in(4):
            at = choices.below(len(records))
            records[at] = choices.of(
                [
                    Record(b"", b"", 1, 1, 1),
                    Record(records[0].key, b"", 1, 1, 1),
                    Record(records[at].key, b"", 1, etcd.revision + 1, 1),
                    Record(b"0", b"behind the range", 1, 1, 1),
                ]
            )
        epoch = choices.of([self.store.epoch, f"e{etcd.revision}"])
        try:
            rebuild = self.store.rebuild(etcd.revision, epoch)
            for record in records:
                rebuild.add([record])
                while choices.below(2) and rebuild.step():
                    pass
            rebuild.end()
            while rebuild.step():
                pass
            self.store.commit(rebuild)
        except StoreError:
            self.check()
            return False
        self.refused = None
        self.expected = {record.key: record for record in records}
        self._revisions = Revisions(self.store.revision)
        self.check()
        return self.expected == etcd.state


KEYS = [b"/", b"/a", b"/b", b"/b\0", b"/c", b"/\xff", b"/d", b"/e", b"/f", b"/g"]
VALUES = [None, b"", b"1", b"\0\xff", b"{}" * 20]


def store(data: bytes) -> None:
    """What an etcd would send, packed in any way, some of it lost or changed: only that is ever refused."""
    choices = Choices(data)
    etcd = Model()
    wrong = False
    with small_blocks(3):
        store = Store(prefix_range(b"/"), history_events=UNBOUNDED, history_bytes=UNBOUNDED)
        read(store, 1, "e", [[]])
        follower = Follower(store)
        while choices.left:
            events = _events(etcd, choices)
            wrong |= _go_wrong(events, choices)
            body = b"".join(_documents(etcd.revision, events, choices))
            results, _, _ = received(choices.of(list(cuttings(body, LIMIT))), limit=len(body))
            assert sum(len(result.events) for result in results) == len(events)
            follower.follow(results)
            if follower.refused is not None:
                assert wrong, "what etcd sent was refused"
                wrong = not follower.read_anew(etcd, choices)
            assert wrong or contents(store) == etcd.state
            assert wrong or store.revision <= etcd.revision


def _events(etcd: Model, choices: Choices) -> list[Event]:
    events: list[Event] = []
    for _ in range(1 + choices.below(4)):
        keys = {choices.of(KEYS) for _ in range(1 + choices.below(4))}
        events += etcd.write({key: choices.of(VALUES) for key in sorted(keys)})
        etcd.idle(choices.below(2))
    return events


def _go_wrong(events: list[Event], choices: Choices) -> bool:
    """Lose, repeat, reorder or change an event, now and then; whether that happened."""
    if not events or not choices.once_in(8):
        return False
    at = choices.below(len(events))
    kv = events[at].kv
    events[at : at + 1] = choices.of(
        [
            [],
            [events[at], events[at]],
            [events[-1], events[at]],
            [Event(Record(b"0", b"behind the range", kv.mod_revision, kv.mod_revision, 1))],
            [Event(Record(kv.key, b"", 1, kv.mod_revision, 9))],
            [Event(Record(kv.key, mod_revision=kv.mod_revision), deleted=True)],
            [Event(Record(kv.key, b"", 1, kv.mod_revision + 1, 1))],
        ]
    )
    return True


def _documents(revision: int, events: Sequence[Event], choices: Choices) -> Iterator[bytes]:
    """Some way in which etcd may pack `events`: revisions together, and fragments cut anywhere."""
    packed: list[Event] = []
    for event, following in zip_longest(events, events[1:]):
        packed.append(event)
        if following is None:
            yield document(revision, packed)
        elif event.kv.mod_revision == following.kv.mod_revision:
            if choices.once_in(3):
                yield document(revision, packed, fragment=True)
                packed = []
        elif choices.below(2):
            yield document(revision, packed, fragment=choices.once_in(2))
            packed = []
    if choices.below(2):
        yield document(revision, [])
