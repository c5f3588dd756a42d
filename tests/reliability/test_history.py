"""The history of etcd, which the rules ask about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reliability.history import Change, Generation, History, Impossible, Record
from tests.reliability.script import Script


def test_it_begins_where_etcd_begins() -> None:
    """Revision 1 is empty, and the first write makes revision 2."""
    script = Script()
    assert script.history.generation == 0
    assert script.history.current.head == 1
    assert script.history.current.state(b"", 1) == {}
    assert script.put((b"/c/a/1", b"x")) == 2


def test_every_state_of_the_past_is_there() -> None:
    """Of a prefix or of a key, in key order, at any revision."""
    script = Script()
    script.put((b"/c/b/1", b"x"), (b"/c/a/1", b"y"))
    script.delete(b"/c/b/1")
    script.put((b"/c/b/1", b"z"))
    generation = script.history.current
    first, again = Record(b"/c/b/1", b"x", 2, 2, 1, 0), Record(b"/c/b/1", b"z", 4, 4, 1, 0)
    other = Record(b"/c/a/1", b"y", 2, 2, 1, 0)
    assert list(generation.state(b"/c/", 2).values()) == [other, first]
    assert list(generation.state(b"/c/", 3).values()) == [other]
    assert list(generation.state(b"/c/", 4).values()) == [other, again]
    assert generation.state(b"/c/b/", 4) == {b"/c/b/1": again}
    assert [generation.record(b"/c/b/1", revision) for revision in (1, 2, 3, 4)] == [None, first, None, again]
    assert generation.record(b"/c/never", 4) is None
    [event] = generation.events(3)
    assert (event.key, event.kv, event.prev) == (b"/c/b/1", None, first)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([b"/c/a/1", b"/c/a/2", b"/c/b/1", b"/o/1"]),
            st.none() | st.binary(max_size=3),
            min_size=1,
        )
    )
)
def test_states_and_events_agree(revisions: list[dict[bytes, bytes | None]]) -> None:
    """Each state is the one before with the events in between, as a dict would have it."""
    script = Script()
    held: dict[bytes, bytes] = {}
    states = [dict(held)]
    for changes in revisions:
        writes = {key: value for key, value in changes.items() if value is not None or key in held}
        if not writes:
            continue
        script._write(list(writes.items()))
        held.update({key: value for key, value in writes.items() if value is not None})
        for key, value in writes.items():
            if value is None:
                del held[key]
        states.append(dict(held))
    generation = script.history.current
    assert generation.head == len(states)
    replayed: dict[bytes, Record] = {}
    for revision, state in enumerate(states, start=1):
        for event in generation.events(revision):
            assert event.prev == replayed.pop(event.key, None)
            if event.kv is not None:
                replayed[event.key] = event.kv
        assert generation.state(b"", revision) == dict(sorted(replayed.items()))
        assert {key: record.value for key, record in replayed.items()} == state
        assert generation.state(b"/c/a/", revision) == {
            key: record for key, record in sorted(replayed.items()) if key.startswith(b"/c/a/")
        }


def put(key: bytes, created: int, revision: int, version: int, prev: Record | None = None) -> Change:
    """A put."""
    return Change(key, Record(key, b"", created, revision, version, 0), prev)


@pytest.mark.parametrize(
    ("revision", "changes"),
    [
        pytest.param(4, [put(b"new", 4, 4, 1)], id="a revision is left out"),
        pytest.param(2, [put(b"new", 2, 2, 1)], id="a revision comes twice"),
        pytest.param(3, [], id="a revision without events"),
        pytest.param(3, [put(b"new", 3, 3, 1), put(b"new", 3, 3, 1)], id="a key twice"),
        pytest.param(3, [put(b"new", 3, 3, 2)], id="the first version is not 1"),
        pytest.param(3, [put(b"key", 2, 3, 3)], id="a version is left out"),
        pytest.param(3, [put(b"key", 3, 3, 1)], id="created where it exists"),
        pytest.param(3, [put(b"key", 2, 4, 2)], id="an event of another revision"),
        pytest.param(3, [Change(b"new", None, None)], id="a delete of nothing"),
        pytest.param(
            3, [put(b"key", 2, 3, 2, Record(b"key", b"other", 2, 2, 1, 0))], id="etcd remembers otherwise"
        ),
    ],
)
def test_what_cannot_be_is_refused(revision: int, changes: list[Change]) -> None:
    """A history with a hole in it would accuse the innocent; nothing of it is taken in."""
    generation = Generation(0)
    generation.add(2, [put(b"key", 2, 2, 1)])
    with pytest.raises(Impossible):
        generation.add(revision, changes)
    assert generation.head == 2
    assert list(generation.state(b"", 2)) == [b"key"]
    generation.add(3, [put(b"key", 2, 3, 2)])


def test_a_wiped_etcd_begins_anew() -> None:
    """The old generation stays as it was; nothing of it is in the new one."""
    script = Script()
    script.mark()
    last = script.put((b"/c/a/1", b"old"))
    script.history.acknowledged(last, 10.0)
    assert script.wipe() == 2
    old, new = script.history.of(0), script.history.of(1)
    assert script.history.generation == 1
    assert (old.ended, old.head, new.ended, new.head) == (True, 3, False, 2)
    assert b"/c/a/1" in old.state(b"/c/", 3)
    assert list(new.state(b"/c/a/", 2)) == [b"/c/a/!generation"]
    assert script.history.shared(0, 1) == 1, "which is empty everywhere"
    assert new.acknowledged_before(11.0) == 0


def test_a_restored_etcd_shares_a_part_of_the_past() -> None:
    """Up to `since` both are the same; after that they know nothing of each other."""
    script = Script()
    script.mark()
    since = script.put((b"/c/a/1", b"kept"))
    lost = script.put((b"/c/a/1", b"lost"), (b"/c/a/2", b"lost"))
    for revision in (since, lost):
        script.history.acknowledged(revision, float(revision))
    assert script.restore(since) == lost
    old, new = script.history.of(0), script.history.of(1)
    assert old.record(b"/c/a/1", lost) == Record(b"/c/a/1", b"lost", since, lost, 2, 0)
    assert new.record(b"/c/a/1", lost) == old.record(b"/c/a/1", since)
    assert new.record(b"/c/a/2", lost) is None
    assert new.events(since) == old.events(since)
    assert new.events(lost) != old.events(lost)
    assert (old.acknowledged_before(100.0), new.acknowledged_before(100.0)) == (lost, since)
    script.wipe()
    assert [script.history.shared(*pair) for pair in ((0, 1), (1, 0), (0, 2), (2, 1))] == [since, since, 1, 1]


def test_a_generation_keeps_only_what_is_known() -> None:
    """Beginning one with a past that the judge has not seen would leave a hole."""
    history = History()
    with pytest.raises(Impossible, match="known up to 1"):
        history.begin(5)
    assert history.generation == 0


def test_there_are_only_the_generations_that_began() -> None:
    """-1 is none of them."""
    history = History()
    for number in (-1, 1):
        with pytest.raises(KeyError):
            history.of(number)


def test_what_was_acknowledged_by_when() -> None:
    """The highest revision counts, whatever order the acknowledgements were noted in."""
    generation = Generation(0)
    for revision, at in ((4, 2.0), (7, 4.0), (5, 3.0), (3, 1.0), (6, 4.5)):
        generation.acknowledged(revision, at)
    assert [generation.acknowledged_before(at) for at in (1.0, 1.5, 2.5, 3.5, 4.2, 9.0)] == [0, 3, 4, 5, 7, 7]


def test_what_an_answer_lacks() -> None:
    """A write of a later revision, or of a later generation, that was acknowledged before."""
    script = Script()
    script.mark()
    script.history.acknowledged(script.put((b"/c/a/1", b"x")), 1.0)
    lacks = script.history.lacks
    assert lacks(0, 2, 1.0) == ""
    assert "revision 3 of generation 0" in lacks(0, 2, 1.1)
    assert lacks(0, 3, 1.1) == ""
    script.history.acknowledged(script.restore(3), 2.0)
    assert lacks(0, 3, 2.0) == ""
    assert "generation 1" in lacks(0, 3, 2.1)
    assert "revision 4" in lacks(1, 3, 2.1)
    assert lacks(1, 4, 2.1) == ""
    assert "revision 3" in lacks(1, 2, 1.5), "the common past is owed in both"
