"""A full read, compared with what is held."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import KeyRange
from syncd.records import Event, Record
from syncd.store import OutOfOrder, Rewritten, Store
from tests.store.model import (
    EVERYTHING,
    Model,
    State,
    Writes,
    complete,
    contents,
    in_order,
    new_store,
    paged,
    read,
    small_blocks,
    writes,
)

histories = st.lists(writes, max_size=6)
pagings = st.lists(st.integers(0, 100), max_size=5)


def difference(old: State, new: State, revision: int) -> dict[bytes, Event]:
    """The events that lead from one state to the other."""
    gone = {
        key: Event(Record(key, mod_revision=revision), deleted=True, prev=prev)
        for key, prev in old.items()
        if key not in new
    }
    changed = {key: Event(kv, prev=old.get(key)) for key, kv in new.items() if kv != old.get(key)}
    return gone | changed


@given(histories, histories, pagings, st.sampled_from(["e", "f"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_read_becomes_the_state_and_its_difference_is_announced(
    before: list[Writes], after: list[Writes], cuts: list[int], epoch: str, live: bool
) -> None:
    """For any two states and any paging, the events are exactly the difference, with what was held before."""
    etcd = Model()
    store = new_store()
    for change in before:
        events = etcd.write(change)
        if events and live:
            store.apply(etcd.revision, events)
    if not live:
        store = new_store(etcd.state, revision=etcd.revision)
    old = dict(etcd.state)
    for change in after:
        etcd.write(change)
    etcd.idle(1)
    view = store.view()
    batch = read(store, etcd.revision, epoch, paged(in_order(etcd.state), cuts))
    expected = difference(old, etcd.state, etcd.revision)
    assert contents(store) == etcd.state
    assert list(contents(store)) == sorted(etcd.state)
    assert store.count == len(etcd.state)
    assert (store.revision, store.epoch) == (etcd.revision, epoch)
    assert batch is not None
    assert batch.resync
    assert (batch.revision, batch.epoch) == (etcd.revision, epoch)
    assert len(batch.events) == len(expected)
    assert {event.kv.key: event for event in batch.events} == expected
    assert contents(view) == old


@given(histories, pagings)
@settings(max_examples=150, deadline=None)
def test_an_identical_read_changes_nothing(changes: list[Writes], cuts: list[int]) -> None:
    """Every block is the very same object afterwards, whatever size it had grown to.

    That there was a gap is told all the same: keys may have come and gone in it.
    """
    etcd, store = Model(), new_store()
    for change in changes:
        if events := etcd.write(change):
            store.apply(etcd.revision, events)
    changed = store.changed_revision
    before = [block for block, _, _ in store.view().slices(EVERYTHING)]
    etcd.idle(3)
    batch = read(store, etcd.revision, "e", paged(in_order(etcd.state), cuts))
    assert batch is not None
    assert (batch.revision, batch.events, batch.resync) == (etcd.revision, (), True)
    after = [block for block, _, _ in store.view().slices(EVERYTHING)]
    assert len(after) == len(before)
    assert all(now is then for now, then in zip(after, before, strict=True))
    assert (store.changed_revision, store.revision) == (changed, etcd.revision)
    assert read(store, etcd.revision, "e", paged(in_order(etcd.state), cuts)) is None  # there was no gap


@given(
    st.lists(st.integers(0, 2000), max_size=800, unique=True),
    st.lists(st.integers(0, 2000), max_size=800, unique=True),
    pagings,
)
@settings(max_examples=30, deadline=None)
def test_blocks_of_the_real_size_are_compared_too(old: list[int], new: list[int], cuts: list[int]) -> None:
    """Any two sets of up to 800 keys give the difference."""
    with small_blocks(128):
        state = {b"%04d" % i: Record(b"%04d" % i, b"", 1, 1, 1) for i in old}
        since = {i: 1 if i in old else 2 for i in new}
        then = {b"%04d" % i: Record(b"%04d" % i, b"", since[i], since[i], 1) for i in new}
        store = new_store(state)
        batch = read(store, 2, "e", paged(in_order(then), (7 * cut for cut in cuts)))
        assert contents(store) == then
        events = batch.events if batch else ()
        assert {event.kv.key: event for event in events} == difference(state, then, 2)


def test_keys_that_appear_in_an_empty_range_are_announced() -> None:
    """A range that was served empty has readers, and the re-read tells them what came."""
    store = new_store()
    record = Record(b"/a", b"1", 2, 2, 1)
    batch = read(store, 3, "e", [[record]])
    assert batch is not None
    assert batch.events == (Event(record),)


def test_the_first_read_tells_nobody() -> None:
    """There was nothing before it that a reader could have seen."""
    store = Store(EVERYTHING, history_events=10, history_bytes=10**6)
    assert not store.ready
    assert read(store, 5, "e", [[Record(b"/a", b"", 5, 5, 1)]]) is None
    assert store.ready
    assert (store.revision, store.changed_revision, store.history.end) == (5, 5, 0)


def test_nothing_is_visible_before_the_commit() -> None:
    """A read that is given up leaves no trace."""
    store = new_store({b"/a": Record(b"/a", b"", 1, 1, 1)})
    rebuild = store.rebuild(9, "f")
    rebuild.add([Record(b"/b", b"", 9, 9, 1)])
    complete(rebuild)
    assert list(contents(store)) == [b"/a"]
    assert (store.revision, store.epoch) == (1, "e")


A, B, C = (Record(key, b"", 5, 5, 1) for key in (b"/a", b"/b", b"/c"))


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ([[B, A]], "a key before the one before it"),
        ([[A, A]], "a key twice in a page"),
        ([[A], [A]], "a key twice in two pages"),
        ([[B], [A]], "a page before the page before it"),
        ([[Record(b"0", b"", 5, 5, 1)]], "a key that is not in the range"),
        ([[Record(b"/a", b"", 5, 10, 2)]], "a record from after the read's revision"),
        ([[Record(b"/a", b"", 0, 0, 0)]], "a record of no revision"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_read_that_etcd_would_not_give_is_refused(pages: list[list[Record]], why: str) -> None:
    """A page is refused whole, and what came before it stays good."""
    store = Store(KeyRange(b"/", b"0"), history_events=10, history_bytes=10**6)
    rebuild = store.rebuild(9, "e")
    for page in pages[:-1]:
        rebuild.add(page)
    with pytest.raises(OutOfOrder):
        rebuild.add(pages[-1])
    rebuild.add([C])
    complete(rebuild)
    store.commit(rebuild)
    assert list(contents(store)) == [*(record.key for page in pages[:-1] for record in page), b"/c"]
    assert rebuild.count == store.count


def test_a_read_older_than_what_is_held_is_refused() -> None:
    """In the same epoch, revisions don't go back; and nothing changes."""
    store = new_store({b"/a": A}, revision=9)
    with pytest.raises(OutOfOrder, match="a read of revision 8 after revision 9"):
        read(store, 8, "e", [[A]])
    assert list(contents(store)) == [b"/a"]
    assert store.revision == 9


@pytest.mark.parametrize(
    "now",
    [
        pytest.param([A, B], id="a key that was not there"),
        pytest.param([msgspec.structs.replace(A, value=b"other")], id="another value"),
    ],
)
def test_a_past_that_was_otherwise_is_refused(now: list[Record]) -> None:
    """What a read says was so before, at a revision that is held, must be held; and nothing changes."""
    store = new_store({b"/a": A}, revision=9)
    with pytest.raises(Rewritten, match="another history"):
        read(store, 12, "e", [now])
    assert list(contents(store)) == [b"/a"]
    assert read(store, 12, "f", [now])  # in another epoch there is no past


def test_a_key_that_is_gone_at_the_very_revision_held_is_told() -> None:
    """There was no time in which it could have gone: this is another history, and its beginning is told."""
    store = new_store({b"/a": A, b"/b": B}, revision=9)
    cursor = store.cursor(EVERYTHING)
    with pytest.raises(Rewritten, match="gone since revision 9"):
        read(store, 9, "e", [[A]])
    assert list(contents(store)) == [b"/a", b"/b"]
    read(store, 9, "f", [[A]])
    assert [(event.kv.key, event.deleted) for batch in cursor.read(9) for event in batch.events] == [
        (b"/b", True)
    ]


def test_gaps_without_a_difference_take_room_too() -> None:
    """They are kept for readers like others, and let go like others."""
    store = new_store({b"/a": A}, revision=9, size=10_000)
    for revision in range(10, 500):
        read(store, revision, "e", [[A]])
    assert store.history.end - store.history.first < 50


def test_a_read_compared_with_a_state_that_is_gone_is_refused() -> None:
    """Its difference would not be the difference for those who have read on; and nothing changes."""
    store = new_store({b"/a": A}, revision=5)
    rebuild = store.rebuild(9, "e")
    rebuild.add([A])
    complete(rebuild)
    b = Record(b"/b", b"", 6, 6, 1)
    store.apply(6, [Event(b)])
    with pytest.raises(OutOfOrder, match="changed"):
        store.commit(rebuild)
    assert contents(store) == {b"/a": A, b"/b": b}
    assert store.revision == 6
