"""What a run did and found, as text and as JSON."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from tests.reliability.tally import Tally

TOLD_IN_FULL = 20
"""Violations that the report tells; the rest is only counted."""


summaries: list[str] = []
"""Of the runs of this process; the tests' summary tells."""


@dataclass(slots=True)
class Report:
    """Filled while it runs."""

    version: str
    seed: int
    tally: Tally
    only: tuple[str, ...] = ()
    minutes: float | None = None
    """For which it was to make faults,"""
    most: int | None = None
    """or in how many rounds."""
    tls: bool = False
    aborted: str = ""
    """Why it ended before its end."""
    seconds: float = 0.0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Those that did what their name says, and 0 for the kinds that did not come up."""
    missed: Counter[str] = field(default_factory=Counter)
    """Those that were made, but did not hit."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the last fault's end until the daemon was live at etcd's head, round by round."""
    generations: int = 1
    written: int = 0
    refused: int = 0
    """Writes that etcd refused, or did not answer."""
    revisions: int = 0
    """Those that the judge knows; what a generation shares with the one before counts once."""
    compared: int = 0
    """Keys that the judge held against etcd's own read of everything, when a generation ended."""
    skipped: int = 0
    """How often a member's watch left a revision out, as the judge saw it."""
    processes: int = 0
    """Daemons, one after the other."""
    peak_bytes: int = 0
    full_reads: dict[str, int] = field(default_factory=dict)
    reconnects: dict[str, int] = field(default_factory=dict)

    @property
    def etcd(self) -> str:
        """Which one it was."""
        return f"etcd {self.version}{' with TLS' if self.tls else ''}"

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong, and the run came to its end."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0 all is well, 1 violations, 3 aborted without any."""
        return 1 if self.tally.violations else 3 if self.aborted else 0

    @property
    def command(self) -> str:
        """What does the same again."""
        length = f"--minutes {self.minutes or 0:g}" if self.most is None else f"--rounds {self.most}"
        only = f" --only {shlex.join(self.only)}" if self.only else ""
        tls = " --tls" if self.tls else ""
        return f"tests/chaos --version {self.version}{tls} --seed {self.seed} {length}{only}"

    @property
    def summary(self) -> str:
        """A few lines of it, for the end of many tests."""
        made = Counter({name: count for name, count in self.faults.items() if count})
        return (
            f"{self.etcd}, seed {self.seed}, {self.seconds:.0f} s: {self.tally.events} events "
            f"told and judged, {len(self.tally.violations)} violations\n"
            f"    {made.total()} faults hit: {_counts(made)}\n"
            f"    {self.missed.total()} missed: {_counts(self.missed)}"
        )

    def as_json(self) -> str:
        """Everything, for machines."""
        return json.dumps(self, default=_fields, indent=1)

    def __str__(self) -> str:
        slowest = max(self.recoveries, default=0.0)
        middle = sorted(self.recoveries)[len(self.recoveries) // 2] if self.recoveries else 0.0
        made = sum(self.faults.values())
        hourly = f", {made * 3600 / self.seconds:.0f} an hour" if self.seconds else ""
        violations = self.tally.violations
        lines = [
            *([f"ABORTED: {self.aborted}"] if self.aborted else []),
            f"{self.etcd}, seed {self.seed}: {self.seconds:.0f} s, {self.rounds} rounds",
            f"once more: {self.command}",
            f"faults that hit: {made}{hourly}: {_counts(self.faults)}",
            f"faults that missed: {self.missed.total()}: {_counts(self.missed)}",
            f"live again after {middle:.1f} s (median), {slowest:.1f} s (longest)",
            f"etcd: {self.written} writes, {self.refused} refused or unanswered",
            (
                f"judge: {self.revisions} revisions in {self.generations} generations; "
                f"{self.skipped} skipped by a watch; {self.compared} keys compared with etcd's own read"
            ),
            f"daemon: {self.processes} processes, at most {self.peak_bytes / (1 << 20):.0f} MiB",
            f"full reads: {_counts(self.full_reads)}",
            f"reconnects: {_counts(self.reconnects)}",
            f"readers: {self.tally} (one event told to 20 watchers counts 20)",
            *(str(violation) for violation in violations[:TOLD_IN_FULL]),
        ]
        if len(violations) > TOLD_IN_FULL:
            lines.append(f"… and {len(violations) - TOLD_IN_FULL} more violations")
        return "\n".join(lines)


def _fields(what: Any) -> dict[str, Any]:
    # Not `asdict`: up to Python 3.11 it copies a Counter as if its items were what is to be counted.
    return {one.name: getattr(what, one.name) for one in fields(what)}


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
