"""The mirror of one range: what it takes, what it refuses, and what a view is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import KeyRange
from syncd.records import Event, Record
from syncd.store import Contradiction, OutOfOrder, Store, StoreError
from tests.store.model import Model, Writes, contents, in_order, new_store, read, writes

A = Record(b"/a", b"1", 3, 5, 2)
"""What is held at revision 7 in the tables below."""


@given(st.lists(writes, max_size=10))
@settings(max_examples=150, deadline=None)
def test_a_view_never_changes(changes: list[Writes]) -> None:
    """However many are taken, each stays what etcd was at its revision, and so does `past`."""
    etcd, store = Model(), new_store()
    views = []
    for change in changes:
        if events := etcd.write(change):
            batch = store.apply(etcd.revision, events)
            assert [event.kv for event in batch.events] == [event.kv for event in events]
        views.append(store.view())
    for view in views:
        past = etcd.past[view.revision]
        assert contents(view) == past
        assert contents(store.past(view.revision)()) == past
        for key in etcd.state:
            assert view.get(key) == past.get(key)


def test_a_view_survives_a_read_of_everything_anew() -> None:
    """Also of another epoch."""
    store = new_store({b"/a": A}, revision=7)
    view = store.view()
    read(store, 2, "f", [])
    assert contents(view) == {b"/a": A}
    assert (view.revision, view.epoch) == (7, "e")
    assert contents(store) == {}
    assert (store.count, store.size) == (0, 0)


def put(key: bytes, revision: int, created: int, version: int) -> Event:
    return Event(Record(key, b"x", created, revision, version))


def delete(key: bytes, revision: int) -> Event:
    return Event(Record(key, mod_revision=revision), deleted=True)


GOOD = put(b"/b", 8, 8, 1)

refusals = pytest.mark.parametrize(
    ("revision", "events", "error"),
    [
        pytest.param(7, [put(b"/b", 7, 7, 1)], OutOfOrder, id="the revision that is held"),
        pytest.param(6, [put(b"/b", 6, 6, 1)], OutOfOrder, id="a revision before it"),
        pytest.param(8, [GOOD, put(b"/c", 9, 9, 1)], OutOfOrder, id="a later revision among them"),
        pytest.param(8, [GOOD, put(b"/c", 7, 7, 1)], OutOfOrder, id="an earlier revision among them"),
        pytest.param(8, [GOOD, GOOD], OutOfOrder, id="a key twice"),
        pytest.param(8, [GOOD, delete(b"/b", 8)], OutOfOrder, id="a key put and deleted at once"),
        pytest.param(8, [GOOD, put(b"0", 8, 8, 1)], OutOfOrder, id="a key outside the range"),
        pytest.param(8, [GOOD, put(b"/a", 8, 3, 4)], Contradiction, id="a version too many"),
        pytest.param(8, [GOOD, put(b"/a", 8, 3, 2)], Contradiction, id="the version that is held"),
        pytest.param(8, [GOOD, put(b"/a", 8, 8, 1)], Contradiction, id="created again without a delete"),
        pytest.param(8, [GOOD, put(b"/a", 8, 6, 3)], Contradiction, id="created again, and changed since"),
        pytest.param(8, [GOOD, put(b"/c", 8, 6, 2)], Contradiction, id="a change of an unknown key"),
        pytest.param(8, [GOOD, put(b"/c", 8, 6, 1)], Contradiction, id="created some revisions ago"),
        pytest.param(8, [GOOD, delete(b"/c", 8)], Contradiction, id="a delete of an unknown key"),
    ],
)


@refusals
def test_what_cannot_come_next_is_refused(
    revision: int, events: Sequence[Event], error: type[StoreError]
) -> None:
    """And then nothing has changed: no key, no number, no history, and nobody was called."""
    store = Store(KeyRange(b"/", b"0"), history_events=10, history_bytes=10**6)
    read(store, 7, "e", [[A]])
    called: list[int] = []
    store.subscribe(lambda: called.append(store.revision))
    with pytest.raises(error):
        store.apply(revision, events)
    assert contents(store) == {b"/a": A}
    assert (store.revision, store.changed_revision, store.count, store.size) == (7, 7, 1, 3)
    assert (store.history.end, store.history.events, store.history.size) == (0, 0, 0)
    assert called == []
    store.apply(8, [GOOD, put(b"/a", 8, 3, 3)])
    assert [record.key for record in in_order(contents(store))] == [b"/a", b"/b"]


def test_a_lost_event_says_which_key_it_was() -> None:
    """In words that help to find out why."""
    store = new_store({b"/a": A}, revision=7)
    with pytest.raises(
        Contradiction, match=r"key b'/a': version 9 at revision 8, but version 2 of revision 5"
    ):
        store.apply(8, [put(b"/a", 8, 3, 9)])
    with pytest.raises(Contradiction, match=r"key b'/z': a delete at revision 8, but nothing is held"):
        store.apply(8, [delete(b"/z", 8)])


def test_events_are_told_what_was_held_before() -> None:
    """A put, a change and a delete, each in one batch of their revision."""
    store = new_store({b"/a": A}, revision=7)
    changed = put(b"/a", 8, 3, 3)
    batch = store.apply(8, [changed, GOOD])
    assert batch.events == (Event(changed.kv, prev=A), Event(GOOD.kv))
    assert (batch.revision, batch.epoch, batch.resync) == (8, "e", False)
    gone = store.apply(9, [delete(b"/a", 9)])
    assert gone.events == (Event(Record(b"/a", mod_revision=9), deleted=True, prev=changed.kv),)
    assert store.get(b"/a") is None
    assert store.get(b"/b") == GOOD.kv


def test_progress_never_goes_back() -> None:
    """Old news are no news, and nobody is woken for them."""
    store = new_store({b"/a": A}, revision=7)
    called: list[int] = []
    stop = store.subscribe(lambda: called.append(store.revision))
    for revision in (7, 9, 8, 9, 1, 10):
        store.advance(revision)
    assert store.revision == 10
    assert store.changed_revision == 7
    assert called == [9, 10]
    stop()
    stop()
    store.advance(11)
    assert called == [9, 10]
    with pytest.raises(OutOfOrder):
        store.apply(11, [put(b"/b", 11, 11, 1)])


def test_listeners_hear_of_every_change_when_it_is_done() -> None:
    """Events, progress and a re-read; and one may leave while it is called."""
    store = new_store({b"/a": A}, revision=7)
    seen: list[tuple[int, int]] = []

    def once() -> None:
        seen.append((-1, store.count))
        stop()

    stop = store.subscribe(once)
    store.subscribe(lambda: seen.append((store.revision, store.count)))
    store.apply(8, [GOOD])
    store.advance(9)
    read(store, 10, "e", [[]])
    assert sorted(seen) == [(-1, 2), (8, 2), (9, 2), (10, 0)]


def test_an_empty_store_has_nothing_to_serve() -> None:
    """Until the first read is committed, also when that finds no key."""
    store = new_store()
    assert store.ready
    cold = Store(KeyRange(b"/"), history_events=1, history_bytes=1)
    assert not cold.ready
    assert contents(cold) == {}
    assert cold.get(b"/") is None
