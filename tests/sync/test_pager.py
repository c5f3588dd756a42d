"""Which pages are asked for: all keys once and in order, not many requests, and little for etcd to count."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.keyrange import KeyRange, prefix_range
from syncd.sync.pager import FIRST_LIMIT, GROWTH, MOST_KEYS, Pager, PageRequest, Part

EVERYTHING = prefix_range(b"")


@dataclass
class Reading:
    """What came of one full read of a model etcd."""

    keys: list[bytes] = field(default_factory=list)
    requests: list[PageRequest] = field(default_factory=list)
    counted: int = 0
    """Keys that etcd had to count: those of each asked interval."""
    too_large: int = 0


def read(
    held: Sequence[bytes],
    wanted: KeyRange = EVERYTHING,
    *,
    page_bytes: int = 1 << 20,
    weight: Callable[[bytes], int] = lambda key: 100,
    most_bytes: int | None = None,
    choose: Callable[[int], int] = lambda parts: 0,
) -> Reading:
    """Read `wanted` from an etcd that holds `held`, sorted; `choose` picks which of the open parts goes on.

    Fails when a page makes no headway. `most_bytes`: the model's gRPC limit.
    """
    pager, reading = Pager(wanted, page_bytes), Reading()
    pages: dict[Part, list[bytes]] = {}
    while open_parts := [part for part in pager.parts if part.request]:
        part = open_parts[choose(len(open_parts))]
        assert part.request
        keys, limit = part.request.keys, part.request.limit
        stop = keys.stop
        start = bisect_left(held, keys.key)
        end = len(held) if stop is None else max(bisect_left(held, stop), start)
        reading.requests.append(part.request)
        reading.counted += end - start
        while True:
            assert limit >= 1
            page = held[start : min(start + limit, end)]
            size = sum(map(weight, page))
            if most_bytes is None or size <= most_bytes or limit == 1:
                break
            reading.too_large += 1
            limit = pager.too_large(limit, refused=True)
        pages.setdefault(part, []).extend(page)
        more = end - start > len(page)
        pager.answered(
            part,
            keys=len(page),
            first_key=page[0] if page else b"",
            last_key=page[-1] if page else b"",
            count=end - start,
            weight=size,
            more=more,
        )
        if more:
            assert part.request
            assert part.request.keys.key > page[-1]
    reading.keys = [key for part in pager.parts for key in pages[part]]
    return reading


tails = st.binary(max_size=4) | st.text("\x00\x7f/ab", max_size=6).map(str.encode)
some_keys = st.one_of(
    tails,
    tails.map(lambda tail: tail + b"\xff"),
    tails.map(lambda tail: b"\xff\xff" + tail),
    tails.map(lambda tail: b"/deep/er/tree/" * 3 + tail),
).filter(bool)
ranges = st.one_of(
    st.just(EVERYTHING),
    st.builds(prefix_range, tails),
    st.builds(KeyRange, some_keys),
    st.builds(KeyRange, some_keys, some_keys),
    st.builds(KeyRange, some_keys, st.just(b"\0")),
)


@given(
    held=st.sets(some_keys, max_size=60),
    wanted=ranges,
    page_bytes=st.integers(1, 1_000),
    first=st.integers(1, 8),
    most_bytes=st.none() | st.integers(1, 1_000),
    draw=st.randoms(use_true_random=False),
)
def test_every_key_of_the_range_is_read_once_and_in_order(
    held: set[bytes],
    wanted: KeyRange,
    page_bytes: int,
    first: int,
    most_bytes: int | None,
    draw: random.Random,
) -> None:
    """Whatever the keys, the range, the page size, and the order of answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("syncd.sync.pager.FIRST_LIMIT", first)
        patch.setattr("syncd.sync.pager.MOST_PAGES", 3)
        reading = read(
            sorted(held),
            wanted,
            page_bytes=page_bytes,
            weight=lambda key: 10 + len(key) % 7 * 50,
            most_bytes=most_bytes,
            choose=draw.randrange,
        )
    assert reading.keys == sorted(key for key in held if key in wanted)
    # Each page but the last of a part brings keys, and a part is begun only where keys were counted.
    assert len(reading.requests) <= 2 * len(reading.keys) + 1


def _regular(count: int) -> list[bytes]:
    return [b"/registry/node-%06d" % i for i in range(count)]


def _hex(count: int) -> list[bytes]:
    draw = random.Random(1)
    return sorted({b"/objects/" + draw.randbytes(16).hex().encode() for _ in range(count)})


def _binary(count: int) -> list[bytes]:
    draw = random.Random(2)
    return sorted({draw.randbytes(8) for _ in range(count)})


def _tree(count: int) -> list[bytes]:
    draw = random.Random(3)
    names = [b"alpha", b"beta", b"gamma", b"services", b"routes", b"x" * 40]
    return sorted({b"/".join(draw.choices(names, k=draw.randint(1, 7))) + b"/%d" % i for i in range(count)})


def _long_common_prefix(count: int) -> list[bytes]:
    return [b"/" + b"a" * 200 + b"/%07d" % i for i in range(count)]


def _one_huge_subtree(count: int) -> list[bytes]:
    return sorted([b"/%c/x" % c for c in b"abcdefgh"] + [b"/d/%06d" % i for i in range(count - 8)])


# How often each key is counted, at most; pages that all reach to the end would come to 100 times here. Where
# a subtree holds less than a page, or all keys share a long beginning, there is little or nothing to gain.
KINDS = {
    "numbered keys": (_regular, 30),
    "hex keys": (_hex, 25),
    "binary keys": (_binary, 70),
    "a tree of names": (_tree, 20),
    "keys with a long common prefix": (_long_common_prefix, 105),
    "one huge subtree among small ones": (_one_huge_subtree, 20),
}


@pytest.mark.parametrize("side_by_side", [1, 2])
@pytest.mark.parametrize(("kind", "times"), KINDS.values(), ids=KINDS.keys())
def test_large_ranges_are_not_counted_again_for_every_page(
    kind: Callable[[int], list[bytes]], times: int, side_by_side: int
) -> None:
    """100,000 keys in pages of 500: fewer keys are counted than by pages that reach to the end."""
    held, page, turns = kind(100_000), 500, itertools.count()
    reading = read(held, page_bytes=page * 100, choose=lambda parts: next(turns) % min(parts, side_by_side))
    assert reading.keys == held
    assert reading.counted <= times * len(held)
    assert len(reading.requests) <= 2 * len(held) // page


def test_a_page_grows_by_a_factor_at_most() -> None:
    """The first page is small, as nothing is known of the keys; later ones approach the wanted bytes."""
    reading = read(_regular(100_000), page_bytes=1 << 20)
    limits = [request.limit for request in reading.requests]
    assert limits[0] == FIRST_LIMIT
    assert limits[1] == FIRST_LIMIT * GROWTH
    assert max(limits) == min((1 << 20) // 100, MOST_KEYS)


def test_a_page_that_is_too_large_is_halved_until_it_fits() -> None:
    """Keys of 100 kB, pages of 16 MiB, a limit of 4 MiB: halved until it fits, and it stays so."""
    held = _regular(300)
    reading = read(held, page_bytes=16 << 20, weight=lambda key: 100_000, most_bytes=4 << 20)
    assert reading.keys == held
    assert reading.too_large == 2
    assert len(reading.requests) <= 12


def test_one_key_that_is_too_large_alone_still_ends() -> None:
    """Halving stops at one key; whether that can be sent is not the pager's matter."""
    reading = read(_regular(20), weight=lambda key: 100, most_bytes=50)
    assert len(reading.keys) == 20


def test_an_empty_range_is_one_request() -> None:
    """Nothing there, nothing more to ask."""
    assert len(read([], prefix_range(b"/a/")).requests) == 1


def test_a_complete_part_takes_no_answer() -> None:
    """An answer that nobody asked for is a fault of the caller."""
    pager = Pager(EVERYTHING, 1 << 20)
    part = pager.parts[0]
    pager.answered(part, keys=0, first_key=b"", last_key=b"", count=0, weight=0, more=False)
    with pytest.raises(ValueError, match="complete"):
        pager.answered(part, keys=0, first_key=b"", last_key=b"", count=0, weight=0, more=False)
