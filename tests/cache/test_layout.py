"""The bytes of a range's file."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.cache.layout import (
    Head,
    Proof,
    decode_batch,
    decode_block,
    decode_head,
    digest_of,
    encode_batch,
    encode_head,
    number,
    opened,
    seal_block,
    sealed,
)
from syncd.keyrange import KeyRange
from syncd.records import Batch, Event, Record
from syncd.store import Block, Packed

int64 = st.integers(0, 2**63 - 1)
records = st.builds(
    Record,
    st.binary(max_size=20),
    st.binary(max_size=300),
    int64,
    int64,
    int64,
    st.integers(-(2**63), 2**63 - 1),
)
columns = st.lists(records, min_size=1, max_size=20, unique_by=lambda r: r.key).map(
    lambda found: sorted(found, key=lambda r: r.key)
)
events = st.builds(Event, records, deleted=st.booleans(), prev=st.none() | records)
batches = st.builds(
    Batch, int64, st.lists(events, max_size=5).map(tuple), st.text(max_size=20), resync=st.booleans()
)
proofs = st.builds(
    Proof, st.floats(allow_nan=False), st.text(max_size=36), st.floats(allow_nan=False, allow_infinity=False)
)
heads = st.builds(
    Head,
    syncd=st.text(),
    range=st.builds(KeyRange, st.binary(), st.binary()),
    cluster_id=st.text(),
    epoch=st.text(),
    revision=int64,
    changed_revision=int64,
    changed_keys=st.lists(st.binary(), max_size=8).map(tuple),
    count=int64,
    base_revision=int64,
    oldest_revision=int64,
    blocks=int64,
    digest=st.integers(0, 2**64 - 1),
    proof=st.none() | proofs,
)


def encode_block(block: Block) -> bytes:
    """What stands behind the digest."""
    buffer = bytearray(b"what was there before")
    assert seal_block(7, block, buffer) == digest_of(buffer)
    assert buffer == sealed(7, bytes(buffer[8:]))
    return bytes(buffer[8:])


def xor(digests: Iterable[int]) -> int:
    """The sum of digests, as a head has it."""
    return reduce(operator.xor, digests, 0)


BLOCK = encode_block(Block.of([Record(b"/a", b"one", 1, 2, 3, 4), Record(b"/b", bytes(40), 5, 6, 7)]))
BATCH = encode_batch(
    Batch(9, (Event(Record(b"/a", b"two", 1, 9, 4), prev=Record(b"/a", b"one", 1, 2, 3, 4)),), "e")
)
HEAD = Head(
    syncd="1",
    range=KeyRange(b"/", b"0"),
    cluster_id="c",
    epoch="c-1",
    revision=9,
    changed_revision=9,
    changed_keys=(b"/a",),
    count=2,
    base_revision=8,
    oldest_revision=7,
    blocks=1,
    digest=2**64 - 1,
    proof=Proof(1.0, "boot", 2.0),
)


@given(columns)
@settings(max_examples=100, deadline=None)
def test_a_block_comes_back(held: list[Record]) -> None:
    """With all integers that etcd has, and any bytes."""
    block = Block.of(held)
    back = decode_block(memoryview(encode_block(block)))
    assert (back.first, len(back), back.size) == (block.first, len(block), block.size)
    assert isinstance(back, Packed)
    assert back == block
    assert back.numbers == array("q", block.numbers)
    assert [back.record(i) for i in range(len(held))] == held


def test_a_block_is_unpacked_only_when_it_is_needed() -> None:
    """And needs nothing of the file then, which may be closed."""
    entry = bytearray(BLOCK)
    first, later = decode_block(memoryview(entry)), decode_block(memoryview(BLOCK))
    entry[:] = bytes(len(entry))
    assert first == later
    nonsense = decode_block(memoryview(BLOCK[:-9]))
    assert (nonsense.first, len(nonsense)) == (b"/a", 2)
    with pytest.raises(ValueError, match="truncated"):
        _ = nonsense.keys


@given(batches)
@settings(max_examples=100, deadline=None)
def test_a_batch_comes_back(batch: Batch) -> None:
    """What was held before, too."""
    back = decode_batch(memoryview(encode_batch(batch)))
    assert msgspec.structs.astuple(back) == msgspec.structs.astuple(batch)


@given(heads)
@settings(max_examples=100, deadline=None)
def test_the_head_comes_back(head: Head) -> None:
    """Every field."""
    assert decode_head(memoryview(encode_head(head))) == head


def open_block(entry: bytes) -> object:
    """Open an entry as number 7."""
    return opened(7, memoryview(entry))


def open_head(entry: bytes) -> object:
    """Open the head."""
    return decode_head(memoryview(entry))


@pytest.mark.parametrize(
    ("entry", "opens"),
    [
        pytest.param(sealed(7, BLOCK), open_block, id="block"),
        pytest.param(sealed(7, BATCH), open_block, id="batch"),
        pytest.param(sealed(7, b""), open_block, id="nothing"),
        pytest.param(encode_head(HEAD), open_head, id="head"),
    ],
)
def test_no_bit_flips_unnoticed(entry: bytes, opens: Callable[[bytes], Any]) -> None:
    """Nor is a byte missing, or one too many."""
    opens(entry)
    for bit in range(8 * len(entry)):
        spoilt = bytearray(entry)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="its checksum is wrong"):
            opens(bytes(spoilt))
    for length in range(len(entry)):
        with pytest.raises(ValueError, match="its checksum is wrong"):
            opens(entry[:length])
    with pytest.raises(ValueError, match="its checksum is wrong"):
        opens(entry + b"\0")


def test_an_entry_in_the_place_of_another_is_noticed() -> None:
    """Each is sealed for its own key."""
    entry = memoryview(sealed(7, BLOCK))
    assert opened(7, entry) == BLOCK
    for key in (6, 8, 0, 2**63 - 1):
        with pytest.raises(ValueError, match="its checksum is wrong"):
            opened(key, entry)


def test_numbers_are_in_order() -> None:
    """LMDB compares bytes."""
    some = [0, 1, 255, 256, 65_535, 2**32, 2**63 - 1]
    assert sorted(map(number, some)) == [number(value) for value in some]


def test_the_sum_shows_what_is_missing_or_older() -> None:
    """It is that of what is there, in whatever order it came and went."""
    old, new, other = sealed(1, b"old"), sealed(1, b"new"), sealed(2, b"other")
    total = xor(map(digest_of, (old, other)))
    assert xor((total, digest_of(old), digest_of(new))) == xor(map(digest_of, (other, new)))
    assert len({xor(map(digest_of, kept)) for kept in ((old, other), (new, other), (other,), ())}) == 4
