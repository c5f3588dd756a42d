"""The deleted keys that a reader who fell behind must be told of."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.records import Batch, Event, Record
from syncd.store.graves import Graves

batches = st.lists(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.booleans()), max_size=20
)


def as_batch(deleted: dict[bytes, bool]) -> Batch:
    """A batch of puts and deletes."""
    return Batch(1, tuple(Event(Record(key), deleted=gone) for key, gone in deleted.items()), "e")


@given(batches, st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_the_last_deleted_keys_are_known(changes: list[dict[bytes, bool]], limit: int) -> None:
    """From `floor` on exactly those that are gone and have not come back, and never more than the limit."""
    graves = Graves(limit)
    for sequence, change in enumerate(changes):
        graves.note(as_batch(change), sequence)
        for since in range(graves.floor, sequence + 2):
            gone: set[bytes] = set()
            for later in changes[since : sequence + 1]:
                gone -= later.keys()
                gone |= {key for key, deleted in later.items() if deleted}
            found = graves.since(since)
            assert set(found) == gone
            assert len(found) == len(gone) <= limit
    assert graves.floor <= len(changes)


def test_without_a_limit_nothing_is_forgotten() -> None:
    """The floor stays where it was."""
    graves = Graves(100)
    for sequence in range(50):
        graves.note(as_batch({b"%d" % sequence: True}), sequence)
    assert graves.floor == 0
    assert len(graves.since(0)) == 50
    assert graves.since(49) == [b"49"]
