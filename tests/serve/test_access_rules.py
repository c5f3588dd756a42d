"""The rules of access, against a slow model that asks for each key by itself."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import TO_THE_END, KeyRange, prefix_range
from syncd.serve.access import Access, Rule
from syncd.serve.peer import Peer

WWW, ALICE, BOB = 4_000_033, 4_000_001, 4_000_002

LETTERS = [bytes([letter]) for letter in b"\x00\x01\x02\xfe\xff"]
UNIVERSE = [
    *LETTERS,
    *map(b"".join, product(LETTERS, repeat=2)),
    *map(b"".join, product(LETTERS, repeat=3)),
    *(key + b"\x00" for key in map(b"".join, product(LETTERS, repeat=3))),
]
"""Among them are the ends of all prefixes and ranges below: what differs, differs in one of these keys."""


def words(letters: bytes, least: int, most: int) -> st.SearchStrategy[bytes]:
    """Strings of these letters."""
    return st.lists(st.sampled_from(letters), min_size=least, max_size=most).map(bytes)


# The letters of prefixes have their successors among LETTERS.
rules = st.builds(
    Rule,
    st.lists(words(b"\x00\x01\xfe\xff", 0, 2), min_size=1, max_size=3).map(tuple),
    st.frozensets(st.sampled_from([ALICE, BOB]), max_size=1),
    st.frozensets(st.just(WWW)),
)
peers = st.builds(Peer, st.sampled_from([ALICE, BOB, None]), st.frozensets(st.just(WWW)))
ranges = st.builds(
    KeyRange,
    words(b"\x00\x01\x02\xfe\xff", 1, 3),
    st.just(b"") | st.just(TO_THE_END) | words(b"\x00\x01\x02\xfe\xff", 1, 3),
)


def may_read(rules: list[Rule], peer: Peer, key: bytes) -> bool:
    """What the configuration promises, word by word."""
    covering = [prefix for rule in rules for prefix in rule.prefixes if key.startswith(prefix)]
    longest = max(covering, key=len, default=None)
    return any(
        longest in rule.prefixes
        and ((not rule.users and not rule.groups) or peer.uid in rule.users or rule.groups & peer.groups)
        for rule in rules
    )


@given(st.lists(rules, min_size=1, max_size=4), peers, ranges)
@settings(max_examples=1000, deadline=None)
def test_a_range_may_be_read_if_every_key_in_it_may(rules: list[Rule], peer: Peer, keys: KeyRange) -> None:
    """Whether the key is there or not."""
    inside = [key for key in UNIVERSE if key in keys]
    if inside:
        may = all(may_read(rules, peer, key) for key in inside)
        assert Access(rules).rights(peer).allow(keys) == may


RULES = [
    Rule((b"/app/", b"/logs/"), groups=frozenset({WWW})),
    Rule((b"/app/secrets/",), users=frozenset({ALICE})),
    Rule((b"/app/secrets/",), users=frozenset({BOB}), groups=frozenset({WWW + 1})),
    Rule((b"/public/",)),
]


@pytest.mark.parametrize(
    ("peer", "keys", "may"),
    [
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/a"), True),
        (Peer(5, frozenset({WWW})), prefix_range(b"/app/a"), True),
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/secrets/a"), False),
        (Peer(5, frozenset({WWW})), prefix_range(b"/app/"), False),
        (Peer(5, frozenset({WWW})), prefix_range(b"/app/s"), False),
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/", b"/app/secrets/"), True),
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/", b"/app/secrets/\0"), False),
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/secrets0", TO_THE_END), False),
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/secrets0", b"/app0"), True),
        (Peer(5, frozenset({WWW})), KeyRange(b"/app/secrets0", b"/app1"), False),
        (Peer(5, frozenset({WWW})), prefix_range(b"/"), False),
        (Peer(5, frozenset({WWW})), prefix_range(b""), False),
        (Peer(5), KeyRange(b"/app/a"), False),
        (Peer(ALICE), prefix_range(b"/app/secrets/"), True),
        (Peer(ALICE), KeyRange(b"/app/a"), False),
        (Peer(ALICE, frozenset({WWW})), prefix_range(b"/app/"), True),
        (Peer(BOB), KeyRange(b"/app/secrets/a"), True),
        (Peer(5, frozenset({WWW + 1})), KeyRange(b"/app/secrets/a"), True),
        (Peer(), prefix_range(b"/public/"), True),
        (Peer(), KeyRange(b"/app/a"), False),
        (Peer(), KeyRange(b"/other"), False),
        (Peer(0), prefix_range(b""), True),
        (Peer(0), KeyRange(b"/other"), True),
    ],
)
def test_the_most_specific_prefix_decides(peer: Peer, keys: KeyRange, *, may: bool) -> None:
    """A longer prefix takes from those of a shorter one, and gives to others; who has both may read both."""
    assert Access(RULES).rights(peer).allow(keys) is may


def test_without_rules_everybody_may_read_everything() -> None:
    """Those who come through TCP, too."""
    for peer in (Peer(), Peer(ALICE), Peer(0)):
        for keys in (KeyRange(b"/a"), prefix_range(b""), KeyRange(b"", TO_THE_END)):
            assert Access().rights(peer).allow(keys)


def test_the_rights_of_equals_are_worked_out_once() -> None:
    """A reader that connects for each request costs a search, not a look at every rule."""
    access = Access(RULES)
    assert access.rights(Peer(5, frozenset({WWW}), pid=1)) is access.rights(Peer(5, frozenset({WWW}), pid=2))
