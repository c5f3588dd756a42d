"""Snapshot + replay = state, from any place, whatever happens to the store."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncd.keyrange import KeyRange
from syncd.records import Batch, Event, Record
from syncd.store import Cursor, HistoryLost, Store
from tests.store.model import (
    EVERYTHING,
    UNBOUNDED,
    Model,
    Replica,
    State,
    Writes,
    contents,
    in_order,
    new_store,
    paged,
    ranges,
    read,
    within,
    writes,
)


class Readers(RuleBasedStateMachine):
    """Writes, gaps, re-reads, restored clusters, and readers that come, go, and read when they like."""

    def __init__(self) -> None:
        super().__init__()
        self.etcd = Model()
        self.epochs = 0
        self.store = Store(EVERYTHING, history_events=0, history_bytes=0)
        self.readers: list[tuple[Cursor, Replica]] = []
        self.views: list[tuple[State, State]] = []

    @initialize(
        events=st.sampled_from([0, 1, 5, 20, UNBOUNDED]),
        size=st.sampled_from([600, 5000, UNBOUNDED]),
        first=writes,
    )
    def begin(self, events: int, size: int, first: Writes) -> None:
        """A first read."""
        self.store = Store(EVERYTHING, history_events=events, history_bytes=size)
        self.etcd.write(first)
        read(self.store, self.etcd.revision, "0", [in_order(self.etcd.state)])

    @rule(changes=st.lists(writes, max_size=6))
    def write(self, changes: list[Writes]) -> None:
        """Revisions come through the watch."""
        for change in changes:
            if events := self.etcd.write(change):
                self.store.apply(self.etcd.revision, events)

    @rule(revisions=st.integers(1, 3))
    def idle(self, revisions: int) -> None:
        """Nothing happens, provably."""
        self.etcd.idle(revisions)
        self.store.advance(self.etcd.revision)

    @rule(missed=st.lists(writes, max_size=6), cuts=st.lists(st.integers(0, 100), max_size=3))
    def reread(self, missed: list[Writes], cuts: list[int]) -> None:
        """Some revisions are missed, and the range is read again."""
        for change in missed:
            self.etcd.write(change)
        read(self.store, self.etcd.revision, str(self.epochs), paged(in_order(self.etcd.state), cuts))

    @rule(state=st.lists(writes, max_size=3), lower=st.integers(0, 5))
    def restore(self, state: list[Writes], lower: int) -> None:
        """Another cluster stands there, perhaps at a lower revision, perhaps with the same keys."""
        self.etcd = Model(max(1, self.etcd.revision - lower))
        for change in state:
            self.etcd.write(change)
        self.epochs += 1
        read(self.store, self.etcd.revision, str(self.epochs), [in_order(self.etcd.state)])

    @rule(keys=ranges)
    def enter(self, keys: KeyRange) -> None:
        """A reader takes a snapshot and goes on from there."""
        cursor = self.store.cursor(keys)
        assert cursor.revision == self.store.revision
        self.readers.append((cursor, Replica(contents(self.store), keys)))

    @rule(keys=ranges, ago=st.integers(0, 30))
    def resume(self, keys: KeyRange, ago: int) -> None:
        """A reader comes back with what it had read at some revision of this epoch, known here or not."""
        known = [revision for revision in self.etcd.past if revision <= self.store.revision]
        revision = known[-1 - min(ago, len(known) - 1)]
        state = self.etcd.past[revision]
        try:
            cursor = self.store.cursor(keys, revision, str(self.epochs))
        except HistoryLost as lost:
            self.store.cursor(keys, lost.oldest_revision)  # that one is good
            with pytest.raises(HistoryLost):
                self.store.past(revision)()
            return
        self.readers.append((cursor, Replica(state, keys)))
        view = self.store.past(revision)()
        assert contents(view) == within(state, EVERYTHING)
        assert (view.revision, view.epoch) == (revision, str(self.epochs))

    @rule()
    def look(self) -> None:
        """Somebody keeps a view."""
        view = self.store.view()
        for held, state in self.views:
            assert held == state
        self.views.append((contents(view), dict(self.etcd.state)))

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), limit=st.integers(1, 4))
    def read(self, data: st.DataObject, limit: int) -> None:
        """A reader reads a few batches."""
        index = data.draw(st.integers(0, len(self.readers) - 1))
        cursor, replica = self.readers[index]
        try:
            batches = cursor.read(limit)
        except HistoryLost:
            del self.readers[index]
            return
        assert len(batches) <= limit
        replica.follow(batches)

    @precondition(lambda self: self.readers)
    @rule()
    def drain(self) -> None:
        """All readers read to the end, and have what the store has."""
        staying = []
        for cursor, replica in self.readers:
            try:
                while batches := cursor.read(3):
                    replica.follow(batches)
            except HistoryLost:
                continue
            assert replica.state == within(self.etcd.state, replica.keys)
            assert cursor.revision == self.store.revision
            staying.append((cursor, replica))
        self.readers = staying

    @invariant()
    def the_store_is_etcd(self) -> None:
        """State, revision and epoch agree, in every step."""
        if self.store.ready:
            assert contents(self.store) == self.etcd.state
            assert (self.store.revision, self.store.epoch) == (self.etcd.revision, str(self.epochs))
            assert self.store.changed_revision <= self.store.revision

    def teardown(self) -> None:
        """Whatever happened, nobody was told anything wrong."""
        self.drain()


def test_snapshot_and_replay_are_the_state() -> None:
    """Any sequence of what can happen leaves every reader with the state, or tells it that it is lost."""
    run_state_machine_as_test(
        Readers, settings=settings(max_examples=150, stateful_step_count=25, deadline=None)
    )


def put(revision: int, key: bytes, version: int = 1, created: int = 0) -> Event:
    """An event as the watch brings it."""
    return Event(Record(key, b"%d" % revision, created or revision, revision, version))


def delete(revision: int, key: bytes) -> Event:
    """The deletion of a key as the watch brings it."""
    return Event(Record(key, mod_revision=revision), deleted=True)


def one_key_a_revision(store: Store, revisions: range) -> None:
    """Put a new key in each of the revisions."""
    for revision in revisions:
        store.apply(revision, [put(revision, b"/%03d" % revision)])


def test_batches_come_in_order_and_a_few_at_a_time() -> None:
    """Never more than asked for, and none when there is nothing new."""
    store = new_store()
    cursor = store.cursor(EVERYTHING)
    one_key_a_revision(store, range(2, 7))
    assert [batch.revision for batch in cursor.read(2)] == [2, 3]
    assert cursor.revision == 3
    assert [batch.revision for batch in cursor.read(10)] == [4, 5, 6]
    assert cursor.read(10) == []
    assert cursor.revision == 6


def test_a_reader_that_is_done_is_as_far_as_the_store() -> None:
    """So that its progress says what was proved, not what last happened."""
    store = new_store()
    cursor = store.cursor(EVERYTHING)
    one_key_a_revision(store, range(2, 4))
    cursor.read(10)
    store.advance(9)
    assert cursor.revision == 9


def test_a_readers_revision_never_goes_back() -> None:
    """Also when an event comes after it was told of progress."""
    store = new_store()
    cursor = store.cursor(EVERYTHING)
    one_key_a_revision(store, range(2, 4))
    assert len(cursor.read(10)) == 2
    store.advance(9)
    assert cursor.read(10) == []
    assert cursor.revision == 9
    one_key_a_revision(store, range(10, 11))
    assert cursor.revision == 9


def test_a_reader_that_fell_behind_gets_the_difference() -> None:
    """What was put since, what was deleted since, only of its keys, and only once."""
    store = new_store(events=3)
    one_key_a_revision(store, range(2, 6))
    cursor = store.cursor(KeyRange(b"/003", b"/008"))
    store.apply(6, [put(6, b"/006"), put(6, b"/009")])
    store.apply(7, [delete(7, b"/003"), delete(7, b"/002")])
    store.apply(8, [put(8, b"/004", version=2, created=4)])
    (batch,) = cursor.read(1)
    assert batch.resync
    assert batch.revision == 8
    assert [(event.kv.key, event.deleted, event.kv.mod_revision) for event in batch.events] == [
        (b"/004", False, 8),
        (b"/006", False, 6),
        (b"/003", True, 8),
    ]
    assert cursor.read(1) == []


def test_a_reader_is_lost_when_the_deletions_it_missed_are_forgotten() -> None:
    """It is told so rather than left with keys that are gone, and told where it can begin again."""
    store = new_store(events=2)
    one_key_a_revision(store, range(2, 8))
    cursor = store.cursor(EVERYTHING)
    for revision in range(8, 11):
        store.apply(revision, [delete(revision, b"/%03d" % (revision - 6))])
    with pytest.raises(HistoryLost, match="the oldest revision to resume from is 8") as lost:
        cursor.read(1)
    assert lost.value.oldest_revision == 8
    with pytest.raises(HistoryLost):
        cursor.read(1)


def test_a_reader_of_an_epoch_that_is_over_cannot_resume() -> None:
    """Its revision means nothing here, even if there is one of the same number."""
    store = new_store()
    with pytest.raises(HistoryLost):
        store.cursor(EVERYTHING, 1, "another")
    assert store.cursor(EVERYTHING, 1, "e").read(1) == []
    assert store.cursor(EVERYTHING, 1).read(1) == []


def test_a_reader_across_an_epoch_gets_the_new_epochs_batch() -> None:
    """The change itself is announced, even when no key differs."""
    record = Record(b"/a", b"", 1, 1, 1)
    store = new_store({b"/a": record}, revision=7)
    cursor = store.cursor(EVERYTHING)
    read(store, 3, "f", [[record]])
    (batch,) = cursor.read(5)
    assert (batch.revision, batch.epoch, batch.resync, batch.events) == (3, "f", True, ())
    assert cursor.revision == 3


def test_a_reader_ahead_of_the_store_is_refused() -> None:
    """Whether that revision is still to come, or another etcd's, is not for the store to say."""
    with pytest.raises(HistoryLost):
        new_store(revision=5).cursor(EVERYTHING, 8, "e")


def test_a_revision_within_a_gap_cannot_be_resumed_from() -> None:
    """The store was never there: it does not know what to add to a state that it did not see."""
    a = Record(b"/a", b"", 5, 5, 1)
    store = new_store({b"/a": a}, revision=5)
    read(store, 9, "e", [[a]])
    # /b was there from revision 6 to 8.
    (gap,) = store.cursor(EVERYTHING, 5).read(1)
    assert (gap.revision, gap.events, gap.resync) == (9, (), True)
    assert store.cursor(EVERYTHING, 9).read(1) == []
    for revision in (6, 7, 8):
        with pytest.raises(HistoryLost, match="oldest revision to resume from is 9"):
            store.cursor(EVERYTHING, revision)
        with pytest.raises(HistoryLost):
            store.past(revision)
    assert contents(store.past(5)()) == {b"/a": a}


def test_a_batch_of_an_uninteresting_resync_is_empty() -> None:
    """A reader of other keys still learns that there was a gap, and where it stands."""
    store = new_store(events=1)
    cursor = store.cursor(KeyRange(b"/zzz"))
    one_key_a_revision(store, range(2, 9))
    batches: list[Batch] = cursor.read(1)
    assert [(batch.resync, batch.events, batch.revision) for batch in batches] == [(True, (), 8)]
