"""Ranges as they are written, and their overlaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.draft import Draft
from syncd.config.ranges import check_overlaps
from syncd.keyrange import TO_THE_END, KeyRange, prefix_range
from tests.config.conftest import Load, Mistakes


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        ("prefix: /apisix/", prefix_range(b"/apisix/")),
        ('prefix: ""', KeyRange(b"\0", TO_THE_END)),
        ("prefix: /grün/", prefix_range("/grün/".encode())),
        ("key: /one", KeyRange(b"/one")),
        ("{key: /a, range_end: /n}", KeyRange(b"/a", b"/n")),
        ('{key: /a, range_end: "\\0"}', KeyRange(b"/a", TO_THE_END)),
    ],
)
def test_ranges(loaded: Load, entry: str, keys: KeyRange) -> None:
    """A range is a prefix, or a key, or a key and where the range ends."""
    assert loaded(f"ranges:\n  - {entry}").ranges == (keys,)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("/apisix/", '2: ranges[0]: should be lines like "name: value", but is a single value'),
        ("", "2: ranges[0]: has neither prefix nor key"),
        ("{}", "2: ranges[0]: has neither prefix nor key"),
        ("range_end: /b", "2: ranges[0]: has neither prefix nor key"),
        ("prefix:", "2: ranges[0].prefix: has no value; write one, or leave the key out"),
        ("prefix: 7", "2: ranges[0].prefix: should be text, but YAML reads a number; put it in quotes"),
        ('key: ""', "2: ranges[0].key: is empty"),
        ("{key: /b, range_end: /a}", "2: ranges[0].range_end: should come after key"),
        ("{key: /b, range_end: /b}", "2: ranges[0].range_end: should come after key"),
        ('{key: /b, range_end: ""}', "2: ranges[0].range_end: is empty"),
        ("{prefix: /a, key: /b}", "2: ranges[0].prefix: cannot stand beside key;"),
        ("{prefix: /a, range_end: /b}", "2: ranges[0].prefix: cannot stand beside range_end;"),
        ("{prefix: /a, prefx: /b}", '2: ranges[0].prefx: unknown key; did you mean "prefix"?'),
    ],
)
def test_what_is_no_range(mistakes: Mistakes, entry: str, expected: str) -> None:
    """What is no range is refused; an empty value never turns into every key."""
    (found,) = mistakes(f"ranges:\n  - {entry}")
    assert found.startswith(expected)


def test_an_overlap_names_both(mistakes: Mistakes) -> None:
    """Ranges with keys in common are refused at the later one, which names the earlier one and its line."""
    assert mistakes("""\
        ranges:
          - prefix: /b/
          - key: /a
            range_end: /b/c
          - key: /b/d
          - key: /z
    """) == [
        '3: ranges[1]: "/a../b/c" overlaps "/b/", ranges[0] (line 2)',
        '5: ranges[2]: "/b/d" overlaps "/b/", ranges[0] (line 2)',
    ]


def test_neighbours_do_not_overlap(loaded: Load) -> None:
    """A range may begin where another one ends."""
    assert len(loaded("ranges: [{prefix: /b}, {key: /a, range_end: /b}, {key: /c}]").ranges) == 3


def test_a_range_beside_a_mistaken_one(mistakes: Mistakes) -> None:
    """An overlap is found though a range between the two is mistaken itself, and indices stay right."""
    found = mistakes("ranges:\n- prefix: /a/\n- prefix: 5\n- prefix: /a/b")
    assert [line.split(": ")[1] for line in found] == ["ranges[1].prefix", "ranges[2]"]


KEYS = st.binary(min_size=1, max_size=2)
RANGES = st.one_of(
    KEYS.map(KeyRange),
    KEYS.map(prefix_range),
    st.just(prefix_range(b"")),
    st.tuples(KEYS, KEYS).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: KeyRange(*pair)),
)


@given(st.lists(RANGES, max_size=6))
def test_overlaps_are_found_as_by_comparing_every_pair(ranges: list[KeyRange]) -> None:
    """There are mistakes exactly when some pair overlaps, and never more than ranges that overlap another."""
    draft = Draft()
    draft.values = {f"ranges[{index}]": keys for index, keys in enumerate(ranges)}
    check_overlaps(draft)
    guilty = [
        any(one.overlaps(other) for place, other in enumerate(ranges) if place != index)
        for index, one in enumerate(ranges)
    ]
    assert bool(draft.mistakes) == any(guilty)
    assert len(draft.mistakes) < max(sum(guilty), 1)
    for mistake in draft.mistakes:
        assert guilty[int(mistake.path.removeprefix("ranges[").removesuffix("]"))]


@pytest.mark.parametrize(
    ("guard", "guards"),
    [
        ("", {}),
        (", guard: {}", {}),
        (", guard: null", {}),
        (", guard: {max_shrink: null}", {}),
        (", guard: {max_shrink: 50%}", {prefix_range(b"/a/"): 0.5}),
        (', guard: {max_shrink: "12.5 %"}', {prefix_range(b"/a/"): 0.125}),
        (", guard: {max_shrink: 0%}", {prefix_range(b"/a/"): 0.0}),
    ],
)
def test_guards(loaded: Load, guard: str, guards: dict[KeyRange, float]) -> None:
    """A guard stands beside its range, and is off by default."""
    assert loaded(f"ranges: [{{prefix: /a/{guard}}}, {{key: /b}}]").guards == guards


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        ("50%", '1: ranges[0].guard: should be lines like "name: value", but is a single value'),
        ("{shrink: 50%}", '1: ranges[0].guard.shrink: unknown key; did you mean "max_shrink"?'),
        ("{max_shrink: 0.5}", '1: ranges[0].guard.max_shrink: "0.5" is not a percentage; write it like 50%'),
        ("{max_shrink: 100%}", '1: ranges[0].guard.max_shrink: "100%" is out of bounds;'),
        ("{max_shrink: -1%}", '1: ranges[0].guard.max_shrink: "-1%" is not a percentage;'),
    ],
)
def test_what_is_no_guard(mistakes: Mistakes, guard: str, expected: str) -> None:
    """It is refused; nobody shall believe that a range is guarded when it is not."""
    (found,) = mistakes(f"ranges: [{{prefix: /a/, guard: {guard}}}]")
    assert found.startswith(expected)


def test_guards_stand_with_their_ranges(mistakes: Mistakes) -> None:
    """The configuration has no such key of its own."""
    (found,) = mistakes("ranges: [{prefix: /a/}]\nguards: {}")
    assert found.startswith("2: guards: unknown key")
