"""Whether too much would be gone: the rule itself, and as a sliding window against a list of all counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.sync.guard import WINDOW, Guard, Shrunk


def holds(guard: Guard, now: float, count: int) -> bool:
    """Whether there must not be so few keys now."""
    try:
        guard.check(now, count, 1)
    except Shrunk:
        return True
    return False


@pytest.mark.parametrize(
    ("share", "keys", "count", "held"),
    [
        (0.5, 10, 5, False),
        (0.5, 10, 4, True),
        (0.5, 2, 1, False),
        (0.5, 1, 0, True),
        (0.5, 0, 0, False),
        (0.0, 10, 9, True),
        (0.0, 10, 10, False),
        (0.29, 100, 71, False),
        (0.29, 100, 70, True),
        (None, 10, 0, False),
    ],
)
def test_more_than_its_share_is_held(share: float | None, keys: int, count: int, held: bool) -> None:
    """As much as the share may go, and no more."""
    guard = Guard(share)
    guard.begin(keys)
    assert holds(guard, 0.0, count) == held


def test_a_beginning_makes_the_past_not_count() -> None:
    """It is compared with what there is from then on."""
    guard = Guard(0.5)
    guard.begin(10)
    guard.counted(1.0, 6)
    assert holds(guard, 2.0, 4)
    guard.begin(4)
    assert not holds(guard, 2.0, 2)
    assert holds(guard, 2.0, 1)


def test_deletes_without_end_take_no_memory() -> None:
    """One entry a second is kept of them."""
    guard = Guard(0.99)
    guard.begin(100_000)
    for gone in range(90_000):
        guard.counted(gone / 10_000, 100_000 - gone)
    assert len(guard._before) <= 10


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), max_size=30),
    st.integers(0, 20),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
)
def test_the_most_within_the_window_counts(steps: list[tuple[int, int]], count: int, share: float) -> None:
    """Whenever and however often the number of keys has changed."""
    guard, now, held = Guard(share), 0.0, [(0.0, 10)]
    guard.begin(10)
    for seconds, keys in steps:
        now += seconds
        guard.check(now, max(keys for _, keys in held), 1)  # asked at any time, it makes no difference
        guard.counted(now, keys)
        held.append((now, keys))
    until = [at + 1 for at, _ in held[1:]] + [now]  # seconds count as a whole
    most = max(keys for (_, keys), end in zip(held, until, strict=True) if end >= now - WINDOW)
    assert holds(guard, now, count) == (most - count > share * most)
