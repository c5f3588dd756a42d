"""Figures as people read them, also at the edges between two units."""

import pytest

from syncd.cli.figures import duration, number, size


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (300, "5 min"),
        (3599, "1 h 0 min"),
        (2 * 3600 + 7 * 60, "2 h 7 min"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    """Two digits or so, in the unit that fits."""
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (64 << 20, "64.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    """Powers of 1024."""
    assert size(count) == shown


def test_numbers() -> None:
    """Thousands are apart."""
    assert number(500000) == "500,000"
