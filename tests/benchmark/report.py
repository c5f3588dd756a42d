"""The figures, each beside the limit that it should keep."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

out = Console(stderr=True)
"""Says what is being done."""


class Row(NamedTuple):
    """A figure, and the limit that it should not pass, or with `at_least` should reach. None: none."""

    what: str
    figure: float
    limit: float | None
    unit: str
    detail: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it keeps its limit."""
        if self.limit is None:
            return True
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def table(rows: Sequence[Row]) -> None:
    """All of them, on standard output."""
    shown = Table("what", "figure", "limit", "", "detail")
    for row in rows:
        shown.add_row(
            row.what,
            f"{row.figure:g} {row.unit}",
            "" if row.limit is None else f"{'≥' if row.at_least else '≤'} {row.limit:g} {row.unit}",
            "" if row.limit is None else "✓" if row.met else "✗",
            row.detail,
        )
    Console(width=None if sys.stdout.isatty() else 160).print(shown)


def compared(what: str, limit: float, ours: Sequence[float], theirs: Sequence[float], unit: str = "s") -> Row:
    """The ratio of the medians, and both spreads; the times are in `unit`."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    return Row(what, round(ratio, 3), limit, "x", f"{spread(ours, unit)} / {spread(theirs, unit)}")


def spread(times: Sequence[float], unit: str = "s") -> str:
    """The median, and between what the others lie."""
    return f"{statistics.median(times):.2f} {unit} ({min(times):.2f}-{max(times):.2f})"


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Milliseconds below which `percent` of the times lie."""
    return 1000 * sorted(seconds)[min(len(seconds) * percent // 100, len(seconds) - 1)]


def latencies(seconds: Sequence[float]) -> str:
    """How they are distributed, in milliseconds."""
    return (
        f"{len(seconds)} reads; p50 {percentile(seconds, 50):.2f}, p99 {percentile(seconds, 99):.1f}, "
        f"max {1000 * max(seconds):.1f} ms"
    )
