"""Blocks against a dict."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.store.blocks import Block, Blocks, Changes, cut, each
from tests.store.model import EVERYTHING, State, in_order, keys, ranges, small_blocks, values, within

records = st.builds(
    Record,
    keys,
    values,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
)


def as_changes(drawn: dict[bytes, Record | None]) -> Changes:
    """What was drawn for each key, as the blocks take it: in order, and each record under its own key."""
    return [
        (key, record and Record(key, record.value, record.create_revision, record.mod_revision, lease=-1))
        for key, record in sorted(drawn.items(), key=lambda item: item[0])
    ]


change_sets = st.dictionaries(keys, st.none() | records, max_size=30).map(as_changes)


def change(model: State, changes: Changes) -> None:
    """Do to a dict what `Blocks.apply` does."""
    for key, record in changes:
        if record is None:
            model.pop(key, None)
        else:
            model[key] = record


def check(blocks: Blocks, model: State) -> None:
    """`blocks` hold what `model` holds, and every number about them is right."""
    held = list(each(blocks.slices(EVERYTHING)))
    assert held == in_order(model)
    assert blocks.count == len(model)
    assert blocks.size == sum(len(r.key) + len(r.value) for r in held)
    assert blocks.firsts == [block.keys[0] for block in blocks.blocks]
    for block in blocks.blocks:
        here = [block.record(i) for i in range(len(block))]
        assert block == Block.of(here)
        assert block.size == sum(len(r.key) + len(r.value) for r in here)
        assert max(block.mod_revisions()) == max(r.mod_revision for r in here)


@given(st.lists(change_sets, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_changes_give_what_a_dict_would_hold(sets: list[Changes]) -> None:
    """Count, size, order and the records themselves are right after every set of changes."""
    blocks, model = Blocks([]), dict[bytes, Record]()
    for changes in sets:
        blocks.apply(changes)
        change(model, changes)
        check(blocks, model)
        assert all(len(block) <= 8 for block in blocks.blocks)


@given(change_sets, st.lists(ranges, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_interval_is_cut_out_exactly(changes: Changes, intervals: list[KeyRange]) -> None:
    """Slices are never empty, and together are the records of the interval in order."""
    blocks, model = Blocks([]), dict[bytes, Record]()
    blocks.apply(changes)
    change(model, changes)
    for interval in intervals:
        slices = blocks.slices(interval)
        assert all(low < high <= len(block) for block, low, high in slices)
        records = list(each(slices))
        assert records == in_order(within(model, interval))
        assert blocks.count_of(interval) == len(records)
        for most in range(len(records) + 2):
            few = blocks.slices(interval, most)
            assert few == slices[: len(few)]
            enough = sum(high - low for _, low, high in few)
            assert min(most, len(records)) <= enough
            assert not few or enough - (few[-1][2] - few[-1][1]) < most


@given(change_sets, change_sets)
@settings(max_examples=100, deadline=None)
def test_single_keys_are_found(before: Changes, after: Changes) -> None:
    """What is there is found, what is not there is not, also when there is nothing at all."""
    blocks, model = Blocks([]), dict[bytes, Record]()
    assert blocks.get(b"/") is None
    for changes in (before, after):
        blocks.apply(changes)
        change(model, changes)
    for key in [b"", b"/", b"/99", b"0", *(key for key, _ in (*before, *after))]:
        assert blocks.get(key) == model.get(key)


@given(change_sets, st.lists(change_sets, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_copy_never_changes(first: Changes, later: list[Changes]) -> None:
    """Whatever happens to the original, the copy and its blocks stay as they were."""
    blocks = Blocks([])
    blocks.apply(first)
    twin = blocks.copy()
    held, kept = list(each(twin.slices(EVERYTHING))), list(twin.blocks)
    for changes in later:
        blocks.apply(changes)
    assert list(each(twin.slices(EVERYTHING))) == held
    assert all(now is then for now, then in zip(twin.blocks, kept, strict=True))
    assert (twin.count, twin.size) == (len(held), sum(len(r.key) + len(r.value) for r in held))


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.integers(0, 700), st.integers(1, 3), st.booleans()), max_size=6
    )
)
@settings(max_examples=40, deadline=None)
def test_blocks_of_the_real_size_hold_thousands_of_keys(spans: list[tuple[int, int, int, bool]]) -> None:
    """Long runs of keys that come and go, at once, leave what a dict would hold."""
    blocks, model = Blocks([]), dict[bytes, Record]()
    with small_blocks(128):
        for revision, (begin, length, step, deleted) in enumerate(spans, 1):
            run = [b"%04d" % i for i in range(begin, begin + length, step)]
            changes = [(key, None if deleted else Record(key, b"v", revision, revision, 1)) for key in run]
            blocks.apply(changes)
            change(model, changes)
            check(blocks, model)
            assert all(len(block) <= 256 for block in blocks.blocks)


def test_a_change_makes_one_new_block() -> None:
    """All others are the very same objects, so that their encoded forms stay good."""
    blocks = Blocks(cut([Record(b"/%02d" % i, b"", 1, 1, 1) for i in range(40)]))
    before = list(blocks.blocks)
    blocks.apply([(b"/21", Record(b"/21", b"new", 1, 2, 2))])
    changed = [i for i, (old, new) in enumerate(zip(before, blocks.blocks, strict=True)) if old is not new]
    assert changed == [blocks.position(b"/21")]


def test_blocks_are_equal_by_what_they_hold_and_hashed_by_identity() -> None:
    """So that they can be keys of a cache, and compared."""
    records = [Record(b"a", b"1", 1, 1, 1), Record(b"b", b"2", 1, 2, 2)]
    one, same, other = Block.of(records), Block.of(records), Block.of(records[:1])
    assert one == same
    assert one != other
    assert one != records
    assert len({one, same}) == 2
    assert one.find(b"b") == records[1]
    assert one.find(b"c") is None


def test_many_deletions_do_not_leave_crumbs() -> None:
    """Blocks that shrink are joined with their neighbours."""
    blocks = Blocks(cut([Record(b"%04d" % i, b"", 1, 1, 1) for i in range(400)]))
    for i in range(400):
        if i % 40:
            blocks.apply([(b"%04d" % i, None)])
    assert blocks.count == 10
    assert len(blocks.blocks) <= 5
