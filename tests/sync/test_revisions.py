"""Events put together into whole revisions, however etcd packs them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.records import Event, Record
from syncd.sync import revisions as revisions_module
from syncd.sync.revisions import Disordered, Revisions


def _event(revision: int, key: bytes = b"k") -> Event:
    return Event(Record(key, mod_revision=revision))


@st.composite
def packed(draw: st.DrawFn) -> tuple[list[tuple[int, list[Event]]], list[tuple[list[Event], bool]]]:
    """Revisions, and one way in which etcd may send them: documents with `fragment` or without."""
    steps = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=12))
    revision, revisions = 10, []
    for step, size in steps:
        revision += step
        revisions.append((revision, [_event(revision, b"%d" % i) for i in range(size)]))
    documents: list[tuple[list[Event], bool]] = []
    at = 0
    while at < len(revisions):
        # A response is whole revisions; its fragments are cut anywhere, and the last is not marked.
        size = draw(st.integers(1, len(revisions) - at))
        events = [event for _, changes in revisions[at : at + size] for event in changes]
        at += size
        cuts = sorted(draw(st.sets(st.integers(1, len(events) - 1), max_size=4))) if len(events) > 1 else []
        bounds = [0, *cuts, len(events)]
        pieces = [events[a:b] for a, b in pairwise(bounds)]
        documents += [(piece, i < len(pieces) - 1) for i, piece in enumerate(pieces)]
    return revisions, documents


@given(packed())
def test_any_packing_gives_the_same_whole_revisions(
    case: tuple[list[tuple[int, list[Event]]], list[tuple[list[Event], bool]]],
) -> None:
    """Every revision comes out once, in order, with all its events, and none is left when a response ends."""
    expected, documents = case
    revisions = Revisions(10)
    found, sent = [], 0
    for events, fragment in documents:
        found += revisions.add(events, fragment=fragment)
        sent += len(events)
        assert fragment or sent == sum(len(changes) for _, changes in found)
    assert found == expected


def test_a_revision_is_held_back_until_no_more_of_it_can_follow() -> None:
    """A fragment's last revision may go on in the next one; a higher revision, or the end, completes it."""
    revisions = Revisions(1)
    assert revisions.add([_event(2), _event(3, b"a")], fragment=True) == [(2, [_event(2)])]
    assert revisions.add([_event(3, b"b")], fragment=True) == []
    assert revisions.add([_event(3, b"c"), _event(4)], fragment=True) == [
        (3, [_event(3, b"a"), _event(3, b"b"), _event(3, b"c")])
    ]
    assert revisions.add([], fragment=False) == [(4, [_event(4)])]


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ([([5], False)], "the revision that is held already"),
        ([([4], False)], "a revision before the one held"),
        ([([7, 6], False)], "backwards within a document"),
        ([([7], False), ([6], False)], "backwards from one document to the next"),
        ([([7], False), ([7], False)], "more of a revision that was complete"),
        ([([7, 8], True), ([7], False)], "more of a revision that another one has followed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_disorder_is_refused(documents: list[tuple[list[int], bool]], why: str) -> None:
    """What goes back in revision, or adds to a complete one, is not believed."""
    revisions = Revisions(5)
    *before, (last, fragment) = documents
    for numbers, more in before:
        revisions.add([_event(number) for number in numbers], fragment=more)
    with pytest.raises(Disordered):
        revisions.add([_event(number) for number in last], fragment=fragment)


def test_a_revision_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its documents go on, what is held has a limit; whole revisions count each for itself."""
    monkeypatch.setattr(revisions_module, "HELD_LIMIT", 10_000)
    revisions = Revisions(10)
    for revision in range(11, 200):
        assert revisions.add([_event(revision)], fragment=False)
    for i in range(50):
        assert not revisions.add([_event(200, b"%d" % i)], fragment=True)
    with pytest.raises(Disordered, match="no end"):
        revisions.add([_event(200, b"x" * 5_000)], fragment=True)
