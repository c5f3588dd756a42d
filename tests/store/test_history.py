"""The bounds of the past, and the way from a revision to its place in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.records import Batch, Event, Record
from syncd.store import HistoryLost
from syncd.store.history import EVENT_COST, History, cost


def batch(revision: int, events: int = 1, value: bytes = b"", prev: bytes | None = None) -> Batch:
    """A batch of so many events with this value."""
    before = None if prev is None else Record(b"k", prev)
    return Batch(revision, (Event(Record(b"k", value), prev=before),) * events, "e")


def append(history: History, batch: Batch) -> None:
    """Add a batch as the store does."""
    history.append(batch, sum(map(cost, batch.events)))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 300)), max_size=200),
    st.integers(0, 20),
    st.integers(0, 4000),
)
@settings(max_examples=150, deadline=None)
def test_bounds_hold_and_what_is_kept_is_found(sizes: list[tuple[int, int]], events: int, size: int) -> None:
    """However long it goes on: the newest batches that fit, at least one, and each by its revision."""
    history, model = History(events, size), list[Batch]()
    history.begin(0)
    for step, (count, length) in enumerate(sizes):
        model.append(batch(10 * step + 5, count, b"x" * length))
        append(history, model[-1])
        assert history.end == len(model)
        kept = history.since(history.first, len(model))
        assert kept == model[history.first :]
        assert history.events == sum(len(b.events) for b in kept)
        assert history.size == sum(EVENT_COST + 1 + len(e.kv.value) for b in kept for e in b.events)
        assert len(kept) == 1 or (history.events <= events and history.size <= size)
        # Nothing was let go of without need.
        if history.first:
            one_more = model[history.first - 1 :]
            costs = [EVENT_COST + 1 + len(e.kv.value) for b in one_more for e in b.events]
            assert len(one_more) == 1 or len(costs) > events or sum(costs) > size or len(kept) == 1
    for revision in range(10 * len(sizes)):
        after = next((i for i, b in enumerate(model) if b.revision > revision), len(model))
        if after < history.first:
            with pytest.raises(HistoryLost) as lost:
                history.sequence_after(revision)
            assert lost.value.oldest_revision == history.oldest_revision > revision
        else:
            assert history.sequence_after(revision) == after
            assert revision >= history.oldest_revision


def test_what_came_before_an_epoch_is_not_resumed_from() -> None:
    """Its batches are still there for those who have a place in them."""
    history = History(100, 10**6)
    history.begin(0)
    for revision in (100, 200):
        append(history, batch(revision))
    history.begin(50)
    append(history, batch(50))
    append(history, batch(60))
    assert [history.sequence_after(revision) for revision in (50, 59, 60, 500)] == [3, 3, 4, 4]
    assert history.oldest_revision == 50
    with pytest.raises(HistoryLost):
        history.sequence_after(49)
    assert [b.revision for b in history.since(0, 9)] == [100, 200, 50, 60]


def test_an_evicted_batch_of_an_old_epoch_does_not_raise_the_bound_of_this_one() -> None:
    """Its revision, however high, is no revision of this epoch."""
    history = History(2, 10**6)
    history.begin(0)
    append(history, batch(100))
    history.begin(50)
    for revision in (50, 51):
        append(history, batch(revision))
    assert history.oldest_revision == 50
    append(history, batch(52))
    assert history.oldest_revision == 50
    append(history, batch(53))
    assert history.oldest_revision == 51


def test_an_event_costs_what_it_keeps_in_memory() -> None:
    """The value before it, too."""
    history = History(100, 10**6)
    append(history, batch(1, 2, b"abc", prev=b"defgh"))
    assert history.size == 2 * (EVENT_COST + len(b"kabcdefgh"))


def test_a_revision_between_two_reads_is_in_no_state() -> None:
    """The ends of the gap are; and a gap is forgotten with the history around it."""
    history = History(2, 10**6)
    history.begin(1)
    history.skip(5, 9)
    append(history, batch(9))
    assert (history.sequence_after(5), history.sequence_after(9)) == (0, 1)
    with pytest.raises(HistoryLost) as lost:
        history.sequence_after(6)
    assert lost.value.oldest_revision == 9
    history.begin(3)
    assert history.sequence_after(6) == 1
