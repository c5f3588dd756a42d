"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.units import BYTES, SECONDS, byte_count, seconds
from tests.config.conftest import refusal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", 0.5),
        ("5s", 5.0),
        ("0.1s", 0.1),
        ("1.5 s", 1.5),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("0s", 0.0),
    ],
)
def test_durations(text: str, value: float) -> None:
    """A duration is a number and a unit, in seconds."""
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5", "write 5s for seconds or 5ms for milliseconds"),
        ("5 fortnights", "durations are written in ms, s, m, h, d"),
        ("5S", "unknown unit"),
        ("1m30s", "write a number and a unit"),
        ("-5s", "is not a duration"),
        ("soon", "is not a duration"),
        ("", '"" is not a duration'),
        ("٣s", "is not a duration"),
        ("9" * 5000 + "s", "is not a duration"),
    ],
)
def test_what_is_no_duration(text: str, hint: str) -> None:
    """What is no duration is refused with a hint at what would be one."""
    with pytest.raises(ValueError, match=hint):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("4096", 4096),
        ("12B", 12),
        ("64KiB", 65536),
        ("2MiB", 2097152),
        ("2 MiB", 2097152),
        ("1.5GiB", 1610612736),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, value: int) -> None:
    """A size is a number and a binary unit, or plain bytes."""
    assert byte_count(text) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2MB", "sizes are written in B, KiB, MiB, GiB, TiB, or as plain bytes"),
        ("2mib", "unknown unit"),
        ("1.5B", "not a whole number of bytes"),
        ("-1", "is not a size"),
        ("0x10", "is not a size"),
        ("much", "is not a size"),
    ],
)
def test_what_is_no_size(text: str, hint: str) -> None:
    """What is no size is refused with a hint at what would be one."""
    with pytest.raises(ValueError, match=hint):
        byte_count(text)


@given(st.integers(0, 10**9), st.sampled_from(sorted(SECONDS)))
def test_whole_durations_are_exact(amount: int, unit: str) -> None:
    """Whole amounts lose nothing on the way."""
    assert round(seconds(f"{amount}{unit}") * 1000) == amount * int(SECONDS[unit] * 1000)


@given(st.integers(0, 10**9), st.sampled_from(sorted(BYTES)))
def test_whole_sizes_are_exact(amount: int, unit: str) -> None:
    """Whole amounts lose nothing on the way."""
    assert byte_count(f"{amount}{unit}") == amount * BYTES[unit]


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, there is a value or a ValueError on one line."""
    for read in (seconds, byte_count):
        assert refusal(read, text).isprintable()
