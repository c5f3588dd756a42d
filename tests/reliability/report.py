"""What a run did and found, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.reliability.tally import Tally

TOLD_IN_FULL = 20
"""Violations that the report tells; the rest is only counted."""


@dataclass(slots=True)
class Report:
    """Filled while it runs."""

    version: str
    seed: int
    tally: Tally
    seconds: float = 0.0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the last fault's end until the daemon was live at etcd's head, round by round."""
    generations: int = 1
    written: int = 0
    refused: int = 0
    """Writes that etcd refused, or did not answer."""
    revisions: int = 0
    """Those that the judge knows, in all generations."""
    processes: int = 0
    """Daemons, one after the other."""
    peak_bytes: int = 0
    full_reads: dict[str, int] = field(default_factory=dict)
    reconnects: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.tally.violations

    def as_json(self) -> str:
        """Everything, for machines."""
        document: dict[str, Any] = asdict(self)
        return json.dumps(document, indent=1)

    def __str__(self) -> str:
        slowest = max(self.recoveries, default=0.0)
        middle = sorted(self.recoveries)[len(self.recoveries) // 2] if self.recoveries else 0.0
        made = sum(self.faults.values())
        hourly = f", {made * 3600 / self.seconds:.0f} an hour" if self.seconds else ""
        violations = self.tally.violations
        lines = [
            f"etcd {self.version}, seed {self.seed}: {self.seconds:.0f} s, {self.rounds} rounds",
            f"faults: {made}{hourly}: {_counts(self.faults)}",
            f"live again after {middle:.1f} s (median), {slowest:.1f} s (longest)",
            f"etcd: {self.written} writes, {self.refused} refused or unanswered",
            f"judge: {self.revisions} revisions in {self.generations} generations",
            f"daemon: {self.processes} processes, at most {self.peak_bytes / (1 << 20):.0f} MiB",
            f"full reads: {_counts(self.full_reads)}",
            f"reconnects: {_counts(self.reconnects)}",
            f"readers: {self.tally}",
            *(str(violation) for violation in violations[:TOLD_IN_FULL]),
        ]
        if len(violations) > TOLD_IN_FULL:
            lines.append(f"… and {len(violations) - TOLD_IN_FULL} more violations")
        return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
