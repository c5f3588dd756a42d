"""Durations and sizes as people write them: `500ms`, `10m`, `64KiB`, `2MiB`."""

from __future__ import annotations

import re
from decimal import Decimal

from syncd.config.errors import quoted

SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

# Eighteen digits are more than any sensible value has, and keep the arithmetic exact and quick.
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)[ ]?([A-Za-z]*)")


def seconds(text: str) -> float:
    """Return the duration `text` in seconds; ValueError with a sentence when it is none."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise ValueError(
            f"{quoted(text)} is not a duration; write a number and a unit, such as 500ms, 5s or 10m"
        )
    amount, unit = match.groups()
    if not unit:
        raise ValueError(
            f"{quoted(text)} lacks a unit; write {amount}s for seconds or {amount}ms for milliseconds"
        )
    if unit not in SECONDS:
        raise ValueError(f"{quoted(text)} has an unknown unit; durations are written in {', '.join(SECONDS)}")
    return float(Decimal(amount) * SECONDS[unit])


def byte_count(text: str) -> int:
    """Return the size `text` in bytes, as a bare number is; ValueError with a sentence when it is none."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise ValueError(f"{quoted(text)} is not a size; write a number and a unit, such as 64KiB or 2MiB")
    amount, unit = match.groups()
    if unit not in BYTES:
        units = ", ".join(filter(None, BYTES))
        raise ValueError(
            f"{quoted(text)} has an unknown unit; sizes are written in {units}, or as plain bytes"
        )
    count = Decimal(amount) * BYTES[unit]
    if count != int(count):
        raise ValueError(f"{quoted(text)} is not a whole number of bytes")
    return int(count)
