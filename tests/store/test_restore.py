"""A store that goes on where another one ended, and the part of the past that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.records import Batch, Event, Record
from syncd.store import HistoryLost, Image, Store, cut
from syncd.store.history import History, cost
from tests.store.model import (
    EVERYTHING,
    KEYS,
    UNBOUNDED,
    Model,
    Writes,
    contents,
    in_order,
    new_store,
    read,
    writes,
)


def image_of(store: Store, *, since: int = 0, events: int = UNBOUNDED) -> Image:
    """All of `store`: blocks as of `since`, or of the oldest revision that there is, and what came then."""
    batches, oldest = store.history.tail(events, UNBOUNDED)
    base = min(max(since, oldest), store.revision)
    return Image(
        epoch=store.epoch,
        revision=store.revision,
        changed_revision=store.changed_revision,
        changed_keys=store.changed_keys,
        count=store.count,
        blocks=store.past(base)().blocks,
        base_revision=base,
        batches=batches,
        oldest_revision=oldest,
    )


def restored(image: Image, *, events: int = UNBOUNDED) -> Store:
    """A new store made of `image`."""
    store = Store(EVERYTHING, history_events=events, history_bytes=UNBOUNDED)
    store.restore(image)
    return store


def told(batches: Sequence[Batch]) -> list[object]:
    """What batches say; they are compared by identity otherwise."""
    return [msgspec.structs.astuple(batch) for batch in batches]


def must_agree(one: Store, other: Store) -> None:
    """Both hold the same now."""
    assert contents(one) == contents(other)
    for name in ("epoch", "revision", "changed_revision", "changed_keys", "count", "size"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.witnesses() == other.witnesses()


steps = st.lists(
    st.one_of(writes, writes, st.integers(1, 3), st.sampled_from(["read", "other epoch"])), max_size=15
)
"""Writes, revisions that change nothing here, a re-read after some were missed, another epoch."""


def do(etcd: Model, store: Store, step: Writes | int | str) -> None:
    """Let one of these happen."""
    if isinstance(step, int):
        etcd.idle(step)
        store.advance(etcd.revision)
    elif isinstance(step, str):
        for missed in ({KEYS[0]: b"m"}, {KEYS[0]: None, KEYS[9]: b"n"}):
            etcd.write(missed)
        read(store, etcd.revision, "f" if step == "other epoch" else store.epoch, [in_order(etcd.state)])
    elif events := etcd.write(step):
        store.apply(etcd.revision, events)


@given(steps, steps, st.integers(0, 30), st.sampled_from([3, 8, UNBOUNDED]), st.sampled_from([3, UNBOUNDED]))
@settings(max_examples=150, deadline=None)
def test_a_restored_store_goes_on_as_the_old_one(
    before: list[Writes | int | str],
    after: list[Writes | int | str],
    since: int,
    events: int,
    room: int,
) -> None:
    """It holds the same, whatever its blocks were as of, and takes in the same; readers resume as before."""
    etcd, old = Model(), new_store()
    for step in before:
        do(etcd, old, step)
    image = image_of(old, since=since, events=events)
    new = restored(image, events=room)
    assert new.ready
    must_agree(new, old)
    oldest = new.history.oldest_revision
    assert oldest == image.oldest_revision or room != UNBOUNDED
    for revision in range(oldest, old.revision + 1):
        resumed = (store.cursor(EVERYTHING, revision, old.epoch) for store in (new, old))
        one, other = (cursor.read(UNBOUNDED) for cursor in resumed)
        assert told(one) == told(other)
    with pytest.raises(HistoryLost) as lost:
        new.cursor(EVERYTHING, oldest - 1, old.epoch)
    assert lost.value.oldest_revision == oldest
    place = new.cursor(EVERYTHING)
    begin = end = old.history.end
    for step in after:
        now = etcd.revision
        do(etcd, old, step)
        # The same once more, told to the other one.
        for batch in old.history.since(end, UNBOUNDED):
            if batch.resync:
                read(new, old.revision, old.epoch, [in_order(etcd.state)])
            else:
                new.apply(batch.revision, batch.events)
        end = old.history.end
        if etcd.revision > now:
            new.advance(etcd.revision)
        must_agree(new, old)
    if room == UNBOUNDED:
        assert told(place.read(UNBOUNDED)) == told(old.history.since(begin, UNBOUNDED))


@given(st.lists(st.one_of(writes, st.sampled_from(["read", "other epoch"])), max_size=15), st.data())
@settings(max_examples=200, deadline=None)
def test_a_tail_is_all_that_fits_without_a_gap(steps: list[Writes | int | str], data: st.DataObject) -> None:
    """Of one epoch, none of it a re-read, and no batch more would have been possible."""
    room = data.draw(st.sampled_from([5, 20, UNBOUNDED]))
    etcd, store = Model(), new_store(events=room)
    for step in steps:
        do(etcd, store, step)
    most, largest = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 8000))
    tail, oldest = store.history.tail(most, largest)
    assert not any(batch.resync for batch in tail)
    assert {batch.epoch for batch in tail} <= {store.epoch}
    assert sum(len(batch.events) for batch in tail) <= most
    assert sum(cost(event) for batch in tail for event in batch.events) <= largest
    assert all(one.revision < other.revision for one, other in pairwise(tail))
    assert store.cursor(EVERYTHING, oldest, store.epoch).read(UNBOUNDED) == tail
    kept = store.history.since(store.history.first, UNBOUNDED)
    before = kept[: len(kept) - len(tail)][-1:]
    for batch in before:
        if batch.resync or batch.epoch != store.epoch:
            continue
        more = [*batch.events, *(event for other in tail for event in other.events)]
        assert len(more) > most or sum(map(cost, more)) > largest


def test_the_tail_of_a_history_that_has_let_go_of_much() -> None:
    """It reaches back to what is kept, however much was cut off; none of an older epoch comes with it."""
    history = History(10, UNBOUNDED)
    history.begin(0)
    for revision in range(1, 501):
        history.append(Batch(revision, (Event(Record(b"k")),), "e"), 1)
    tail, oldest = history.tail(UNBOUNDED, UNBOUNDED)
    assert [batch.revision for batch in tail] == list(range(491, 501))
    assert oldest == 490
    history.begin(7)
    assert history.tail(UNBOUNDED, UNBOUNDED) == ([], 7)
    history.append(Batch(8, (Event(Record(b"k")),), "f"), 1)
    tail, oldest = history.tail(UNBOUNDED, UNBOUNDED)
    assert ([batch.revision for batch in tail], oldest) == ([8], 7)


IMAGE = Image(
    epoch="e",
    revision=9,
    changed_revision=8,
    changed_keys=(b"/a",),
    count=1,
    blocks=(),
    base_revision=7,
    batches=[Batch(8, (Event(Record(b"/a", b"1", 8, 8, 1)),), "e")],
    oldest_revision=7,
)


def test_what_is_not_whole_is_refused() -> None:
    """Then the store is as it was, and nobody was called."""
    store = Store(EVERYTHING, history_events=9, history_bytes=UNBOUNDED)
    called: list[int] = []
    store.subscribe(lambda: called.append(store.revision))
    for wrong in (0, 2):
        with pytest.raises(ValueError, match=f"1 keys were restored, {wrong} were saved"):
            store.restore(msgspec.structs.replace(IMAGE, count=wrong))
    assert not store.ready
    assert (store.revision, store.count, store.changed_keys, store.history.end) == (0, 0, (), 0)
    assert called == []
    store.restore(IMAGE)
    assert store.ready
    assert (store.revision, store.changed_revision, store.changed_keys) == (9, 8, (b"/a",))
    assert called == [9]


def test_what_blocks_hold_already_may_be_repeated() -> None:
    """Some are of a later revision than others; also keys that came and went, and came again."""
    records = [Record(b"/a", b"2", 3, 8, 2), Record(b"/c", b"x", 8, 8, 1)]
    events = [
        (6, Event(Record(b"/b", mod_revision=6), deleted=True, prev=Record(b"/b", b"", 2, 2, 1))),
        (7, Event(Record(b"/c", mod_revision=7), deleted=True, prev=Record(b"/c", b"", 2, 2, 1))),
        (8, Event(Record(b"/c", b"x", 8, 8, 1))),
        (9, Event(Record(b"/a", mod_revision=9), deleted=True, prev=records[0])),
        (10, Event(Record(b"/a", b"3", 10, 10, 1))),
    ]
    image = msgspec.structs.replace(
        IMAGE,
        revision=10,
        count=2,
        blocks=cut(records),
        base_revision=5,
        batches=[Batch(revision, (event,), "e") for revision, event in events],
        oldest_revision=5,
    )
    assert list(contents(restored(image)).values()) == [events[4][1].kv, records[1]]
    assert [key for key, _ in image.changes()] == [b"/a", b"/b", b"/c"]


def test_what_is_older_than_the_blocks_is_history_only() -> None:
    """To repeat it would undo what came after it."""
    now = Record(b"/a", b"now", 8, 8, 1)
    image = msgspec.structs.replace(IMAGE, blocks=cut([now]), base_revision=8)
    assert image.changes() == []
    assert restored(image).get(b"/a") == now


def test_keys_that_were_deleted_are_told_to_readers_that_fell_behind() -> None:
    """What is restored of the past has graves as well: a resync batch names them."""
    etcd, old = Model(), new_store()
    for change in ({KEYS[0]: b"1", KEYS[1]: b"1"}, {KEYS[0]: None}):
        do(etcd, old, change)
    new = restored(image_of(old), events=1)
    place = new.cursor(EVERYTHING, etcd.revision - 1, "e")
    do(etcd, new, {KEYS[2]: b"1"})
    do(etcd, new, {KEYS[3]: b"1"})
    assert place.behind
    (batch,) = place.read(9)
    assert batch.resync
    assert {event.kv.key: event.deleted for event in batch.events} == {
        KEYS[0]: True,
        KEYS[2]: False,
        KEYS[3]: False,
    }
