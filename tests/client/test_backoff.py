"""How long to wait between attempts."""

from itertools import islice

from syncd.client.backoff import FIRST_DELAY, LONGEST_DELAY, delays, spread


def test_attempts_are_spread_and_become_rarer() -> None:
    """Full jitter below a limit that doubles."""
    longest = FIRST_DELAY
    for delay in islice(delays(), 20):
        assert 0 <= delay <= longest
        longest = min(2 * longest, LONGEST_DELAY)


def test_no_two_readers_wait_equally_long() -> None:
    """Many of them may have lost one daemon in the same moment."""
    assert len({next(delays()) for _ in range(100)}) > 90


def test_who_was_told_when_to_come_back_comes_no_sooner() -> None:
    """And not all at the same time."""
    waits = {spread(2.0) for _ in range(100)}
    assert len(waits) > 90
    assert 2 <= min(waits) <= max(waits) <= 4
