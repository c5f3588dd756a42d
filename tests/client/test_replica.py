"""The contents of a mirror against a dict that is changed in the same way."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.client import NotReadyError, ProtocolError
from syncd.client.lines import Bookmark, Progress, WatchMessage
from syncd.client.mirror.replica import DecodeError, Reach, Replica
from syncd.client.mirror.updates import Feed, KeyChange, Update, joined
from syncd.records import Batch, Event
from tests.client.messages import between, delete, put, snapshot

BAD = b"bad"


@dataclass(frozen=True, eq=False)
class Box:
    """A decoded value without equality, as of a program's own classes; `inside` is for the test."""

    inside: bytes


def boxed(value: bytes) -> Box:
    """Decode, or fail."""
    if value.startswith(BAD):
        raise ValueError("bad")
    return Box(value)


def feed(replica: Replica[Box], messages: Iterable[WatchMessage]) -> list[Update[Box]]:
    """Have it receive messages; what it tells of them."""
    told = []
    for message in messages:
        step = replica.stage(message)
        if step is not None:
            replica.commit(step)
            if not isinstance(step, Reach):
                told.append(step.update)
    return told


@dataclass
class Model:
    """etcd's contents, and what a mirror of it should show."""

    raw: dict[bytes, bytes] = field(default_factory=dict)
    shown: dict[bytes, bytes] = field(default_factory=dict)
    failing: set[bytes] = field(default_factory=set)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key; a value that cannot be decoded leaves what was shown."""
        self.raw[key] = value
        if value.startswith(BAD):
            self.failing.add(key)
        else:
            self.failing.discard(key)
            self.shown[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        self.raw.pop(key, None)
        self.shown.pop(key, None)
        self.failing.discard(key)

    def become(self, contents: dict[bytes, bytes]) -> None:
        """Be something else, as after a gap."""
        for key in [*self.raw]:
            if key not in contents:
                self.delete(key)
        for key, value in contents.items():
            self.put(key, value)


KEYS = st.sampled_from([b"/a", b"/b", b"/c", b"/\xff", "/ä".encode()])
VALUES = st.sampled_from([b"", b"1", b"2", BAD, BAD + b" too"])
CONTENTS = st.dictionaries(KEYS, VALUES)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.lists(st.tuples(KEYS, st.none() | VALUES), min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["snapshot", "packed snapshot"]), CONTENTS),
        st.tuples(st.just("cut snapshot"), CONTENTS),
        st.tuples(st.just("resync"), CONTENTS),
        st.tuples(st.just("progress"), st.none()),
    ),
    max_size=12,
)


def play(replica: Replica[Box], model: Model, steps: list[tuple[str, object]]) -> list[Update[Box]]:
    """Let the same happen to both; what the replica told."""
    told = []
    for revision, (kind, content) in enumerate(steps, 10):
        match kind, content:
            case "progress", _:
                told += feed(replica, [Progress(revision, "e")])
            case "batch", list(changes):
                events = [delete(k, revision) if v is None else put(k, v, revision) for k, v in changes]
                for key, value in changes:
                    model.delete(key) if value is None else model.put(key, value)
                told += feed(replica, [Batch(revision, tuple(events), "e")])
            case "snapshot" | "packed snapshot", dict(contents):
                model.become(contents)
                packed = kind == "packed snapshot"
                told += feed(replica, snapshot(revision, contents, f"epoch {revision}", packed=packed))
            case "cut snapshot", dict(contents):
                told += feed(replica, snapshot(revision, contents)[:-1])
            case "resync", dict(contents):
                events = [put(k, v, revision) for k, v in contents.items() if model.raw.get(k) != v]
                events += [delete(k, revision) for k in model.raw if k not in contents]
                model.become(contents)
                told += feed(replica, [Batch(revision, tuple(events), "f", resync=True)])
        check(replica, model)
    return told


def check(replica: Replica[Box], model: Model) -> None:
    """Both hold the same."""
    assert {encoded(key): box.inside for key, box in replica.data.items()} == model.shown
    assert {encoded(key) for key in replica.failures} == model.failing


def encoded(key: str) -> bytes:
    """The bytes that a key stands for."""
    return key.encode("utf-8", "surrogateescape")


def replayed(updates: Iterable[Update[Box]], begin: dict[str, Box]) -> dict[str, Box]:
    """What one has who does as the changes say, and knows of nothing else; they must fit what was there."""
    state = dict(begin)
    for update in updates:
        for change in update.changes:
            assert (change.kind != "added") == (change.key in state)
            assert change.old is state.get(change.key)
            if change.kind == "removed":
                assert change.value is None
                del state[change.key]
            else:
                assert change.value is not None
                state[change.key] = change.value
    return state


@given(CONTENTS, STEPS)
@settings(max_examples=150, deadline=None)
def test_a_replica_holds_what_a_dict_would(
    first: dict[bytes, bytes], steps: list[tuple[str, object]]
) -> None:
    """Whatever comes, and in whatever order; and its changes alone lead to the same."""
    replica, model = Replica(boxed), Model()
    model.become(first)
    told = feed(replica, snapshot(9, first))
    check(replica, model)
    told += play(replica, model, steps)
    assert replayed(told, {}) == replica.data
    assert all(update.gap for update in told[:1])


@given(CONTENTS, STEPS, STEPS)
@settings(max_examples=100, deadline=None)
def test_what_is_held_stays_as_it_is(
    first: dict[bytes, bytes], before: list[tuple[str, object]], after: list[tuple[str, object]]
) -> None:
    """And the updates since, one by one or put together, lead from there to what came of it."""
    replica, model = Replica(boxed), Model()
    model.become(first)
    feed(replica, snapshot(9, first))
    play(replica, model, before)
    hold, data, copy = replica.hold(), replica.data, replica.data.copy()
    told = play(replica, model, after)
    assert data == copy
    assert replayed(told, copy) == replica.data
    if told:
        assert replayed([joined(told)], copy) == replica.data
        assert joined(told).gap
    del hold


def test_nothing_is_copied_while_nobody_holds_it() -> None:
    """A single delete and any number of puts are made in place; with a hold, the first change copies."""
    replica = Replica(boxed)
    feed(replica, snapshot(1, {b"/a": b"1", b"/b": b"1"}))
    data = replica.data
    feed(replica, [Batch(2, (put(b"/a", b"2", 2), put(b"/c", b"2", 2)), "e")])
    feed(replica, [Batch(3, (delete(b"/a", 3),), "e")])
    assert replica.data is data
    hold = replica.hold()
    assert replica.hold() is hold
    feed(replica, [Batch(4, (put(b"/d", b"4", 4),), "e")])
    copied = replica.data
    assert copied is not data
    feed(replica, [Batch(5, (put(b"/d", b"5", 5),), "e")])
    assert replica.data is copied
    del hold
    gc.collect()
    replica.hold()
    gc.collect()
    feed(replica, [Batch(6, (put(b"/d", b"6", 6),), "e")])
    assert replica.data is copied


def test_a_batch_with_deletes_is_seen_at_once() -> None:
    """Puts and a delete are no single step of a dict: so they are made in a copy."""
    replica = Replica(boxed)
    feed(replica, snapshot(1, {b"/a": b"1"}))
    data = replica.data
    feed(replica, [Batch(2, (delete(b"/a", 2), put(b"/b", b"2", 2)), "e")])
    assert list(data) == ["/a"]
    assert list(replica.data) == ["/b"]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param((put(b"/a", b"2", 2), put(b"/b", b"2", 2), put(b"/c", b"2", 2)), id="puts"),
        pytest.param((delete(b"/a", 2), put(b"/c", b"2", 2)), id="a move"),
        pytest.param((delete(b"/a", 2), delete(b"/b", 2)), id="deletes"),
    ],
)
def test_a_batch_is_seen_as_a_whole(events: tuple[Event, ...]) -> None:
    """Between any two bytecodes, a reader's thread may look: there is what was before, then what is after."""
    replica = Replica(boxed)
    feed(replica, snapshot(1, {b"/a": b"1", b"/b": b"1"}))
    before = replica.data.copy()
    step = replica.stage(Batch(2, events, "e"))
    assert step is not None
    seen = between(lambda: replica.commit(step), lambda: (dict(replica.data), replica.revision))
    after = replica.data.copy()
    contents = [data for data, _ in seen]
    assert contents == [before] * contents.count(before) + [after] * contents.count(after)
    assert all(data == after for data, revision in seen if revision == 2)
    assert len(seen) > contents.count(after) > 2


def test_a_gap_tells_only_what_is_different() -> None:
    """What is the same keeps its decoded object, and nobody hears of it."""
    replica = Replica(boxed)
    feed(replica, snapshot(1, {b"/a": b"1", b"/b": b"1", b"/c": b"1"}))
    same = replica.data["/a"]
    (update,) = feed(replica, snapshot(5, {b"/a": b"1", b"/b": b"2"}, "other"))
    assert (update.revision, update.epoch, update.gap) == (5, "other", True)
    assert {change.key: change.kind for change in update.changes} == {"/b": "changed", "/c": "removed"}
    assert replica.data["/a"] is same
    assert replica.bookmark == Bookmark(5, "other")


def test_without_decoding_a_gap_tells_only_what_is_different() -> None:
    """The bytes themselves are compared."""
    replica: Replica[bytes] = Replica(None)
    for message in snapshot(1, {b"/a": b"1", b"/b": b"1"}):
        if step := replica.stage(message):
            replica.commit(step)
    for message in snapshot(5, {b"/a": bytes([49]), b"/b": b"2"}):
        step = replica.stage(message)
    assert step is not None
    assert not isinstance(step, Reach)
    assert step.update.changes == (KeyChange("/b", "changed", b"2", b"1", 5),)


def test_a_failure_is_reported_once_and_named_until_it_is_mended() -> None:
    """The same bad value in another snapshot is no news; put again, it is."""
    replica = Replica(boxed)
    reports: list[DecodeError] = []

    def receive(*messages: WatchMessage) -> None:
        for message in messages:
            if step := replica.stage(message):
                replica.commit(step)
                reports.extend(() if isinstance(step, Reach) else step.reports)

    receive(*snapshot(1, {b"/a": BAD, b"/b": b"1"}))
    assert [(one.key, one.revision, one.kept) for one in reports] == [("/a", 1, False)]
    assert isinstance(reports[0].__cause__, ValueError)
    assert replica.failures == {"/a": reports[0]}
    receive(*snapshot(2, {b"/a": BAD, b"/b": b"1"}))
    assert len(reports) == 1
    receive(Batch(3, (put(b"/a", BAD, 3), put(b"/b", BAD, 3)), "e"))
    assert [(one.key, one.revision, one.kept) for one in reports[1:]] == [("/a", 3, False), ("/b", 3, True)]
    assert {key: box.inside for key, box in replica.data.items()} == {"/b": b"1"}
    receive(Batch(4, (put(b"/a", b"4", 4), delete(b"/b", 4)), "e"))
    assert replica.failures == {}


def test_nothing_is_not_empty() -> None:
    """Before the first snapshot is complete, every look is refused with the reason."""
    replica = Replica(boxed)
    feed(replica, snapshot(1, {b"/a": b"1"})[:-1])
    data = replica.data
    for look in (
        lambda: data["/a"],
        lambda: data.get("/a"),
        lambda: "/a" in data,
        lambda: len(data),
        lambda: bool(data),
        lambda: list(data),
    ):
        with pytest.raises(NotReadyError):
            look()
    assert replica.bookmark is None
    with pytest.raises(ProtocolError):
        replica.stage(Batch(2, (), "e"))


def test_a_reader_that_does_not_keep_up_gets_the_difference() -> None:
    """However many updates there were, a few remain, and they lead to the same."""
    replica = Replica(boxed)
    feed(replica, snapshot(1, {b"/a": b"0"}))
    begin = replica.data.copy()
    reader: Feed[Box] = Feed()
    for revision in range(2, 5000):
        key = b"/%d" % (revision % 7)
        event = delete(key, revision) if revision % 3 == 0 else put(key, b"%d" % revision, revision)
        for update in feed(replica, [Batch(revision, (event,), "e")]):
            reader.put(update)
    told = list(iter(reader.take, None))
    assert told[0].gap
    assert len(told[0].changes) <= 7
    assert not any(update.gap for update in told[1:])
    assert len(told) <= 1001
    assert replayed(told, begin) == replica.data
