"""Key ranges against sets of keys."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import TO_THE_END, KeyRange, prefix_range

keys = st.binary(min_size=1, max_size=3).map(lambda b: bytes(b"\x00\x01a\xfe\xff"[x % 5] for x in b))
ends = st.one_of(keys, st.just(b""), st.just(TO_THE_END))
ranges = st.builds(KeyRange, keys, ends)

ALPHABET = [bytes([x]) for x in b"\x00\x01a\xfe\xff"]
UNIVERSE = [
    *ALPHABET,
    *(a + b for a in ALPHABET for b in ALPHABET),
    *(a + b + c for a in ALPHABET for b in ALPHABET for c in ALPHABET),
    *(a + b + c + b"\x00" for a in ALPHABET for b in ALPHABET for c in ALPHABET),
]
"""Enough keys that two different ranges of the above differ in one of them."""


def inside(keys: KeyRange) -> set[bytes]:
    """The keys of the universe that etcd says are in the range: its own words, read literally."""
    if not keys.range_end:
        return {keys.key}
    return {k for k in UNIVERSE if k >= keys.key and (keys.range_end == b"\0" or k < keys.range_end)}


@given(ranges)
@settings(deadline=None)
def test_a_range_has_the_keys_that_etcd_means(keys: KeyRange) -> None:
    """A single key, an interval, or everything from a key on; and `stop` is its end."""
    assert {k for k in UNIVERSE if k in keys} == inside(keys)
    assert {k for k in UNIVERSE if k >= keys.key and (keys.stop is None or k < keys.stop)} == inside(keys)


@given(ranges, ranges)
@settings(max_examples=500, deadline=None)
def test_ranges_are_compared_as_their_keys_are(one: KeyRange, other: KeyRange) -> None:
    """For ranges that have keys at all: cover is superset, overlap is a common key."""
    a, b = inside(one), inside(other)
    if a and b:
        assert one.covers(other) == (a >= b)
        assert one.overlaps(other) == other.overlaps(one) == bool(a & b)


@given(st.binary(max_size=4), st.binary(max_size=6))
@settings(deadline=None)
def test_a_prefix_covers_what_begins_with_it(prefix: bytes, key: bytes) -> None:
    """And nothing else; the empty prefix has every key, and there is no empty key."""
    if key:
        assert (key in prefix_range(prefix)) == key.startswith(prefix)
    assert not prefix or prefix + key in prefix_range(prefix)


@pytest.mark.parametrize(
    ("prefix", "key", "range_end"),
    [
        (b"/a/", b"/a/", b"/a0"),
        (b"a\xff", b"a\xff", b"b"),
        (b"a\xff\xff", b"a\xff\xff", b"b"),
        (b"\xff\xff", b"\xff\xff", b"\0"),
        (b"\0", b"\0", b"\1"),
        (b"", b"\0", b"\0"),
    ],
)
def test_the_end_of_a_prefix(prefix: bytes, key: bytes, range_end: bytes) -> None:
    """As etcd's own clients compute it."""
    assert prefix_range(prefix) == KeyRange(key, range_end)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (prefix_range(b"/apisix/"), "/apisix/"),
        (prefix_range("/é/".encode()), "/é/"),
        (prefix_range(b""), ""),
        (prefix_range(b"a\xff"), r"a\xff"),
        (KeyRange(b"/a"), "/a"),
        (KeyRange(b"/a", b"/c"), "/a../c"),
        (KeyRange(b"/a", b"\0"), "/a.."),
    ],
)
def test_a_range_is_called_what_people_call_it(keys: KeyRange, name: str) -> None:
    """By its prefix or key where it is one, by both ends where not; always printable text."""
    assert keys.name == name
