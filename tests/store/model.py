"""What the store must agree with: an etcd of a few dictionaries, and a reader that keeps a copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import strategies as st

from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Batch, Event, Record
from syncd.store import Rebuild, Store, View
from syncd.store import blocks as blocks_module
from syncd.store import rebuild as rebuild_module
from syncd.store.blocks import each

State = dict[bytes, Record]
Writes = Mapping[bytes, bytes | None]
"""The new value of each key, None for a key that is to be deleted."""

EVERYTHING = prefix_range(b"")
UNBOUNDED = 10**9

KEYS = [b"/%02d" % i for i in range(30)]
keys = st.sampled_from(KEYS)
values = st.sampled_from([b"", b"1", b"22", b"333"])
writes = st.dictionaries(keys, st.none() | values, min_size=1, max_size=8)
bounds = st.sampled_from([b"/", *KEYS, *(key + b"\0" for key in KEYS), b"0"])
ranges = st.one_of(
    st.builds(KeyRange, bounds),
    st.builds(KeyRange, bounds, bounds),
    st.builds(KeyRange, bounds, st.just(b"\0")),
    st.just(EVERYTHING),
)


class Model:
    """An etcd: what it holds, what it held at each of its revisions."""

    def __init__(self, revision: int = 1) -> None:
        self.revision = revision
        self.state: State = {}
        self.past: dict[int, State] = {revision: {}}

    def write(self, writes: Writes) -> list[Event]:
        """Make one new revision of the writes that change something; what a watch says of it."""
        revision = self.revision + 1
        events = []
        state = dict(self.state)
        for key, value in writes.items():
            held = state.get(key)
            if value is not None:
                state[key] = (
                    Record(key, value, held.create_revision, revision, held.version + 1)
                    if held
                    else Record(key, value, revision, revision, 1)
                )
                events.append(Event(state[key]))
            elif held:
                del state[key]
                events.append(Event(Record(key, mod_revision=revision), deleted=True))
        if events:
            self.revision, self.state = revision, state
            self.past[revision] = state
        return events

    def idle(self, revisions: int) -> None:
        """Make revisions that change nothing here."""
        for _ in range(revisions):
            self.revision += 1
            self.past[self.revision] = self.state


class Replica:
    """A reader that started from `state` and does what the batches say; fails on one that cannot be."""

    def __init__(self, state: State, keys: KeyRange = EVERYTHING) -> None:
        self.keys = keys
        self.state = within(state, keys)
        self.revision = 0

    def follow(self, batches: Iterable[Batch]) -> None:
        """Do what `batches` say, in order."""
        for batch in batches:
            if not batch.resync:
                assert batch.revision > self.revision
            for event in batch.events:
                key = event.kv.key
                if key not in self.keys:
                    continue
                if not batch.resync:
                    assert event.kv.mod_revision == batch.revision
                    assert event.prev == self.state.get(key)
                if event.deleted:
                    self.state.pop(key, None)
                else:
                    self.state[key] = event.kv
            self.revision = batch.revision


def within(state: State, keys: KeyRange) -> State:
    """The part of `state` that lies in `keys`, in key order."""
    return {key: state[key] for key in sorted(state) if key in keys}


def contents(held: Store | View, keys: KeyRange = EVERYTHING) -> State:
    """What is held of `keys`, in the order in which it comes."""
    view = held.view() if isinstance(held, Store) else held
    return {record.key: record for record in each(view.slices(keys))}


def in_order(state: State) -> list[Record]:
    """The records of `state` in key order."""
    return [state[key] for key in sorted(state)]


def complete(rebuild: Rebuild) -> None:
    """There are no more records: do all that is left to do."""
    rebuild.end()
    while rebuild.step():
        pass
    assert rebuild.finished


def read(store: Store, revision: int, epoch: str, pages: Iterable[Sequence[Record]]) -> Batch | None:
    """Make a full read in `pages` the state of `store`."""
    rebuild = store.rebuild(revision, epoch)
    for page in pages:
        rebuild.add(page)
    complete(rebuild)
    return store.commit(rebuild)


def new_store(
    state: State | None = None, *, revision: int = 1, events: int = UNBOUNDED, size: int = UNBOUNDED
) -> Store:
    """A store that has just read `state` in the epoch `e`."""
    store = Store(EVERYTHING, history_events=events, history_bytes=size)
    read(store, revision, "e", [in_order(state or {})])
    return store


def paged(records: Sequence[Record], cuts: Iterable[int]) -> Iterator[Sequence[Record]]:
    """`records` in pages that end at `cuts` (taken modulo the number of records)."""
    begin = 0
    for cut in sorted(cut % (len(records) + 1) for cut in cuts):
        yield records[begin:cut]
        begin = cut
    yield records[begin:]


@contextmanager
def small_blocks(size: int = 4) -> Iterator[None]:
    """Blocks of `size` records, so that a few keys make many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "BLOCK_RECORDS", size)
        patch.setattr(blocks_module, "SPLIT_ABOVE", 2 * size)
        patch.setattr(blocks_module, "MERGE_BELOW", size // 2)
        patch.setattr(blocks_module, "_STEP", 4 * size)
        patch.setattr(rebuild_module, "BLOCK_RECORDS", size)
        yield
