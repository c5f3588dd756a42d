"""Who reads when: tables for one daemon, and a model of one etcd with a thousand."""

from __future__ import annotations

import random
from heapq import heapify, heappop, heappush

import pytest

from syncd.sync.turns import QUICK, RELENT, SPREAD_LEAST, SPREAD_MOST, WIDEN, Turns
from tests.dice import Upper


@pytest.mark.parametrize(
    ("took", "pause"),
    [
        pytest.param(0.0, 2.0, id="nothing to read"),
        pytest.param(0.2, 4.0, id="a small range"),
        pytest.param(0.7, 14.0, id="a large range"),
        pytest.param(60.0, 15.0, id="a huge range, or a slow road"),
    ],
)
def test_rereads_are_spread(took: float, pause: float) -> None:
    """Over twenty times what one takes; two seconds at least, a quarter of a minute at most."""
    assert Turns(Upper()).needed(took) == pause
    assert all(0 <= Turns(random.Random(seed)).needed(took) <= pause for seed in range(20))


@pytest.mark.parametrize(
    ("usual", "took", "quiet"),
    [
        pytest.param([], 0.09, True, id="nothing is known, and nothing is wrong"),
        pytest.param([], 0.11, False, id="a busy etcd from the start"),
        pytest.param([0.001], 0.03, True, id="other work"),
        pytest.param([0.001], 0.04, False, id="busy"),
        pytest.param([0.1], 0.35, True, id="a long road"),
        pytest.param([0.1], 0.45, False, id="busy, at the end of a long road"),
        pytest.param([0.1, 0.001, 0.1, 0.1], 0.06, False, id="slow just now, after it was quick"),
        pytest.param([0.001] + 300 * [0.1], 0.35, True, id="the road became a long one"),
    ],
)
def test_etcd_is_listened_to(usual: list[float], took: float, quiet: bool) -> None:
    """It is busy when reading one key takes far longer than usual, and longer than any computer may take."""
    turns = Turns(Upper())
    for seen in usual:
        turns.usual(seen)
    assert (turns.listened(took) is None) is quiet


def test_a_long_road_is_no_busy_etcd() -> None:
    """Connecting takes long there, too, and etcd has no part in that; also before anything else is known."""
    assert Turns(Upper()).listened(0.5, road=0.2) is None
    assert Turns(Upper()).listened(0.9, road=0.2) is not None


def test_a_busy_etcd_is_asked_less_and_less_often() -> None:
    """The waits grow from two seconds to fifteen; after a read, they begin anew."""
    turns = Turns(Upper())
    pauses = [turns.listened(10.0) for _ in range(10)]
    assert pauses == [min(SPREAD_LEAST * WIDEN**i, SPREAD_MOST) for i in range(10)]
    turns.taken()
    assert turns.listened(10.0) == SPREAD_LEAST


def test_the_waits_grow_from_where_they_began() -> None:
    """A range that takes long to read was spread over more than two seconds at first."""
    turns = Turns(Upper())
    assert turns.needed(0.5) == 10.0
    assert turns.listened(10.0) == 10.0 * WIDEN


def test_an_etcd_that_is_always_slow_is_read_in_the_end() -> None:
    """Each time, a little more counts as quick."""
    turns = Turns(Upper())
    turns.usual(0.001)
    waits = 0
    while turns.listened(0.5) is not None:
        waits += 1
    assert QUICK * RELENT ** (waits - 1) < 0.5 <= QUICK * RELENT**waits
    turns.taken()
    assert turns.listened(0.06) is not None


ALONE = 0.05
"""Seconds that a full read takes the modelled etcd, which has one core, when it is the only one."""

ONE_KEY = 0.001
LATER = 0.01
"""Seconds that it takes to read one key, and that each full read under way adds to that, by and large."""

STEP = 0.002
"""Seconds that the model moves on at a time."""


def _herd(size: int, seed: int) -> tuple[int, float]:
    """`size` daemons must read again: full reads at a time, at most, and seconds until the last is done."""
    draw = random.Random(seed)
    herd = [Turns(draw) for _ in range(size)]
    agenda: list[tuple[float, int, float | None]] = []  # when, who, and how long reading one key took them
    for number, turns in enumerate(herd):
        turns.usual(ONE_KEY)
        agenda.append((turns.needed(ALONE), number, None))
    heapify(agenda)
    left: list[float] = []  # what each read under way still needs of the core
    now, most, done = 0.0, 0, 0
    while done < size:
        while agenda and agenda[0][0] <= now:
            _, number, took = heappop(agenda)
            if took is None:
                took = ONE_KEY + LATER * len(left) * draw.uniform(0.3, 1.7)
                heappush(agenda, (now + took, number, took))
            elif (pause := herd[number].listened(took)) is not None:
                heappush(agenda, (now + pause, number, None))
            else:
                left.append(ALONE)
                most = max(most, len(left))
        before = len(left)
        left = [work - STEP / before for work in left if work > STEP / before]
        done += before - len(left)
        now += STEP
    return most, now


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("size", "at_a_time"), [(1, 1), (20, 10), (200, 30), (1000, 50)])
def test_a_herd_takes_turns(size: int, at_a_time: int, seed: int) -> None:
    """Few read at a time, however many there are; and it takes hardly longer than etcd needs for them all.

    Up to twice as long, and 10 s for one that waited once more than it had to.
    """
    most, seconds = _herd(size, seed)
    assert most <= at_a_time
    assert seconds <= 2 * size * ALONE + 10
