"""What the readers were told, counted; and what of it was wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

TEXT = 600
"""Characters of what was told, or is true, that a violation keeps: a snapshot may be long."""


@dataclass(frozen=True, slots=True)
class Violation:
    """`rule` was broken: `reader` was told `told`, but `true` is so. `at` is time.monotonic()."""

    rule: str
    reader: str
    told: str
    true: str
    at: float
    epoch: str
    revision: int

    def __str__(self) -> str:
        return (
            f"{self.rule}: {self.reader}, epoch {self.epoch!r} revision {self.revision}, at {self.at:.3f}\n"
            f"    told: {self.told}\n    true: {self.true}"
        )


@dataclass(slots=True)
class Tally:
    """Everything counted was judged, unless it says otherwise."""

    batches: int = 0
    events: int = 0
    progresses: int = 0
    snapshots: int = 0
    reads: int = 0
    """What says how fresh it is: single answers, heads of snapshots, progress lines."""
    resyncs: int = 0
    resumes: int = 0
    """Watches that went on from an earlier one's place."""
    hang_ups: int = 0
    """Of those who hang up without a word."""
    silent: int = 0
    """Connections opened by those who never read."""
    cut: int = 0
    """Answers and streams that ended early as the daemon did, or as their reader had stopped reading."""
    unreachable: int = 0
    """Connections that were not accepted: the daemon was down."""
    unjudged: int = 0
    """Answers and streams of an epoch that went by too fast for anybody to know its generation."""
    refusals: Counter[str] = field(default_factory=Counter)
    """By code."""
    violations: list[Violation] = field(default_factory=list)

    def violated(
        self, rule: str, reader: str, told: object, true: object, at: float, epoch: str, revision: int
    ) -> None:
        """Note a violation."""
        self.violations.append(Violation(rule, reader, _short(told), _short(true), at, epoch, revision))

    def __str__(self) -> str:
        counts = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("refusals", "violations")
        }
        figures = ", ".join(f"{count} {name.replace('_', '-')}" for name, count in counts.items())
        refusals = ", ".join(f"{count} {code}" for code, count in sorted(self.refusals.items())) or "none"
        return f"{figures}; refusals: {refusals}; {len(self.violations)} violations"


def _short(what: object) -> str:
    text = str(what)
    return text if len(text) <= TEXT else f"{text[:TEXT]}… ({len(text)} characters)"
