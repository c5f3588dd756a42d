"""Blocks that are unpacked when somebody first looks into them."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.store import Block, Columns, Packed, cut
from syncd.store.blocks import Blocks, each
from tests.store.model import KEYS, State, in_order, ranges, within, writes

RECORDS = [Record(key, b"v%d" % i, i + 1, i + 2, 2, -i) for i, key in enumerate(KEYS)]
PLAIN = Block.of(RECORDS)


class Unpacking:
    """Packs blocks, and notes which were unpacked."""

    def __init__(self) -> None:
        self.done: list[bytes] = []

    def pack(self, block: Block) -> Packed:
        """The same records, not yet to be seen."""

        def unpack() -> Columns:
            self.done.append(block.first)
            return Columns(block.keys, block.values, block.numbers)

        return Packed(block.first, len(block), block.size, unpack)


def test_what_is_needed_before_the_records_needs_no_unpacking() -> None:
    """Length, size and first key; a first look at the rest, whatever it is, unpacks it, once."""
    unpacking = Unpacking()
    packed = unpacking.pack(PLAIN)
    assert (len(packed), packed.count, packed.size, packed.first) == (30, 30, PLAIN.size, KEYS[0])
    assert unpacking.done == []
    assert packed == PLAIN
    assert [packed.record(i) for i in range(30)] == RECORDS
    assert packed.find(KEYS[7]) == RECORDS[7]
    assert list(packed.mod_revisions()) == list(PLAIN.mod_revisions())
    assert unpacking.done == [KEYS[0]]


@pytest.mark.parametrize("name", ["keys", "values", "numbers"])
def test_each_column_may_be_the_first_that_is_asked_for(name: str) -> None:
    """And no other name is taken for one."""
    packed = Unpacking().pack(PLAIN)
    with pytest.raises(AttributeError, match="revisions"):
        _ = packed.revisions
    assert getattr(packed, name) == getattr(PLAIN, name)


def test_the_packed_form_is_let_go_of() -> None:
    """Nothing is held twice once it was unpacked."""

    class Form:
        def __call__(self) -> Columns:
            return Columns(PLAIN.keys, PLAIN.values, PLAIN.numbers)

    packed = Packed(PLAIN.first, len(PLAIN), PLAIN.size, form := Form())
    held = weakref.ref(form)
    del form
    gc.collect()
    assert held()
    assert packed.keys == PLAIN.keys
    gc.collect()
    assert held() is None


@given(
    st.dictionaries(st.sampled_from(KEYS), st.just(None)).map(lambda d: [r for r in RECORDS if r.key in d]),
    ranges,
)
@settings(max_examples=150, deadline=None)
def test_an_interval_is_found_by_unpacking_its_two_ends(records: list[Record], interval: KeyRange) -> None:
    """Not more: a reader of everything gets it at once, and what lies between is unpacked as it is sent."""
    unpacking = Unpacking()
    blocks = Blocks([unpacking.pack(block) for block in cut(records)])
    slices = blocks.slices(interval)
    assert len(unpacking.done) <= 2
    state: State = {record.key: record for record in records}
    assert list(each(slices)) == in_order(within(state, interval))


@given(writes)
@settings(max_examples=100, deadline=None)
def test_a_change_unpacks_what_it_changes(changed: dict[bytes, bytes | None]) -> None:
    """And the neighbours that it is joined with; all others are the very same blocks."""
    unpacking = Unpacking()
    packed = [unpacking.pack(block) for block in cut(RECORDS)]
    blocks = Blocks(list(packed))
    blocks.apply([(k, None if v is None else Record(k, v, 1, 99, 2)) for k, v in sorted(changed.items())])
    model = {record.key: record for record in RECORDS}
    for key, value in changed.items():
        if value is None:
            del model[key]
        else:
            model[key] = Record(key, value, 1, 99, 2)
    untouched = {id(block) for block in packed if block.first not in unpacking.done}
    assert untouched <= {id(block) for block in blocks.blocks}
    assert len(unpacking.done) <= 2 * len(changed)
    assert [r for block in blocks.blocks for r in each([(block, 0, len(block))])] == in_order(model)


def test_a_thread_that_comes_too_late_finds_what_another_has_unpacked() -> None:
    """It did not find the column, and before it could unpack it, somebody else had."""
    packed = Unpacking().pack(PLAIN)
    assert packed.keys
    assert packed.__getattr__("values") == PLAIN.values


def test_threads_may_look_into_the_same_blocks() -> None:
    """As the one that writes the copy on disk does, while readers are served."""
    unpacking = Unpacking()
    blocks = [unpacking.pack(PLAIN) for _ in range(5_000)]
    together = Barrier(2)

    def look() -> bool:
        together.wait()
        return all(block.keys == PLAIN.keys and block.numbers == PLAIN.numbers for block in blocks)

    with _hasty_threads(), ThreadPoolExecutor(2) as threads:
        assert all(result.result() for result in [threads.submit(look), threads.submit(look)])
    assert len(unpacking.done) >= len(blocks)


@contextmanager
def _hasty_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_each_block_has_a_serial_number_of_its_own() -> None:
    """A packed one, too, and without being unpacked for it."""
    records = [Record(b"/a", b"1", 1, 1, 1)]
    one, other = Block.of(records), Block.of(records)
    packed = Packed(b"/a", 1, 3, lambda: pytest.fail("was unpacked"))
    assert len({one.serial, other.serial, packed.serial}) == 3
