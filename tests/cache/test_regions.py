"""Two states of a range, and the way from one to the other block by block."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.cache.regions import regions
from syncd.records import Record
from syncd.store import Block, cut
from syncd.store.blocks import Blocks, each
from tests.store.model import EVERYTHING, KEYS, State, Writes, small_blocks, writes


def made(changes: list[Writes], blocks: Blocks, revision: int) -> Blocks:
    """What `blocks` becomes by `changes`, as a store changes them."""
    blocks = blocks.copy()
    for at, change in enumerate(changes, revision):
        blocks.apply([(k, None if v is None else Record(k, v, 1, at, 1)) for k, v in sorted(change.items())])
    return blocks


def held(blocks: list[Block]) -> State:
    """The records of `blocks`, which must be in order and must not share a key."""
    in_order = sorted(blocks, key=lambda block: block.first)
    records = list(each((block, 0, len(block)) for block in in_order))
    assert all(one.key < other.key for one, other in pairwise(records))
    return {record.key: record for record in records}


runs = st.tuples(st.integers(0, 29), st.integers(1, 12)).map(lambda r: dict.fromkeys(KEYS[r[0] : sum(r)]))
many = st.lists(st.one_of(writes, writes, runs), max_size=8)
"""Now and then some neighbours are deleted together, and so whole blocks."""


@given(many, many, st.integers(0, 2**32), st.booleans())
@settings(max_examples=150, deadline=None)
def test_one_by_one_they_make_the_new_state_of_the_old_one(
    before: list[Writes], between: list[Writes], seed: int, anew: bool
) -> None:
    """In any order; on the way, each key is in one block, and to repeat the changes gives the new state."""
    with small_blocks():
        old = made(before, Blocks([]), 1)
        new = made(between, old, 100)
        if anew:  # as after a re-read, by which nothing is kept but keys
            new = Blocks(cut(list(each(new.slices(EVERYTHING)))))
        found = list(regions(old.blocks, new.blocks))
        last = held(new.blocks)
        changes = [(key, last.get(key)) for key in KEYS if held(old.blocks).get(key) != last.get(key)]
        current = list(old.blocks)
        random.Random(seed).shuffle(found)
        for gone, fresh in found:
            for block in gone:
                current.remove(next(b for b in current if b is block))
            current += fresh
            held(current)
            repeated = Blocks(sorted(current, key=lambda block: block.first))
            repeated.apply(changes)
            assert held(repeated.blocks) == last
        current.sort(key=lambda block: block.first)
        assert list(map(id, current)) == list(map(id, new.blocks))


@given(many, many)
@settings(max_examples=100, deadline=None)
def test_what_both_have_is_not_written(before: list[Writes], between: list[Writes]) -> None:
    """Blocks that neither state has alone are in no region; all others are in one, once, in key order."""
    with small_blocks():
        old = made(before, Blocks([]), 1)
        new = made(between, old, 100)
    found = list(regions(old.blocks, new.blocks))
    gone = [id(block) for region in found for block in region[0]]
    fresh = [id(block) for region in found for block in region[1]]
    kept = set(map(id, old.blocks)) & set(map(id, new.blocks))
    assert gone == [id(block) for block in old.blocks if id(block) not in kept]
    assert fresh == [id(block) for block in new.blocks if id(block) not in kept]


def test_a_region_is_as_small_as_can_be() -> None:
    """Blocks that begin at the same key in both states are apart, so that little is written at a time."""
    records = [Record(b"/%02d" % i, b"", 1, 1, 1) for i in range(12)]
    old, new = ([Block.of(records[i : i + 4]) for i in (0, 4, 8)] for _ in range(2))
    assert list(regions(old, new)) == [([one], [other]) for one, other in zip(old, new, strict=True)]
    assert list(regions(old, old[1:])) == [([old[0]], [])]
    assert list(regions(old[1:], old)) == [([], [old[0]])]
    assert list(regions(old, [new[0], old[1], new[2]])) == [([old[0]], [new[0]]), ([old[2]], [new[2]])]


def test_states_without_a_key() -> None:
    """All comes, all goes, or nothing happens."""
    blocks = [Block.of([Record(b"/%d" % i, b"", 1, 1, 1)]) for i in range(3)]
    assert list(regions([], [])) == []
    assert list(regions(blocks, blocks)) == []
    assert list(regions([], blocks)) == [([], blocks)]
    assert list(regions(blocks, [])) == [(blocks, [])]
