"""Figures as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a time span in two digits or so: `12 ms`, `3.4 s`, `5 min`, `2 h 7 min`, `3 d 4 h`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def size(count: int) -> str:
    """Return a number of bytes: `512 B`, `1.5 KiB`, `64.0 MiB`."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1023.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def number(count: int) -> str:
    """Return a whole number with its thousands apart: `500,000`."""
    return f"{count:,}"
