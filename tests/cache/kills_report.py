"""What a run did and found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.cache.kills_moments import MOMENTS
from tests.cache.kills_witness import Phase

TOLD_IN_FULL = 20
"""Violations that the report tells; the rest is only counted."""


MISSED_MOST = 5
"""Kills that may miss one kind of moment, and none have hit it: by chance."""


@dataclass(slots=True)
class Report:
    """Filled while it runs."""

    version: str
    seed: int
    rounds: int
    seconds: float = 0.0
    now: str = "the first start"
    """What is going on."""
    aimed: Counter[str] = field(default_factory=Counter)
    """Kills by the kind of moment that they were meant for,"""
    hit: Counter[str] = field(default_factory=Counter)
    """and those that came at such a moment."""
    phases: Counter[Phase] = field(default_factory=Counter)
    """What the daemon was at when it was killed, meant or not."""
    drafts: int = 0
    """Kills that left a file half made."""
    nothing: int = 0
    """Kills after which there was no file, as there had been none before."""
    lags: list[int] = field(default_factory=list)
    """Events that the reader was told, and that the disk had not yet, kill by kill."""
    by_etcd: int = 0
    """States on disk compared with etcd's own read; the others were compacted, or of an etcd that is gone."""
    starts: int = 0
    first_answers: list[float] = field(default_factory=list)
    """Seconds from the start of a daemon, Python's included, until it had sent all that the disk had."""
    warm: int = 0
    """Of them were `warm`: etcd had not answered by then."""
    states: int = 0
    batches: int = 0
    keys: int = 0
    revisions: int = 0
    generations: int = 0
    resumed: int = 0
    gaps: int = 0
    """That were announced to the reader, where etcd or the disk had lost the history."""
    behind: int = 0
    """Starts after which catching up took longer than reading everything."""
    violations: Sequence[str] = ()
    aborted: str = ""

    @property
    def kills(self) -> int:
        """All of them."""
        return self.aimed.total()

    @property
    def unhit(self) -> set[str]:
        """Kinds of moments that none of the kills came at."""
        return {moment.name for moment in MOMENTS if not self.hit[moment.name]}

    @property
    def exit_code(self) -> int:
        """0 all is well, 1 violations, 3 aborted, or a kind of moment that was missed time after time."""
        missed = any(self.aimed[name] > MISSED_MOST for name in self.unhit)
        return 1 if self.violations else 3 if self.aborted or missed else 0

    def __str__(self) -> str:
        lags, answers = self.lags or [0], self.first_answers or [0.0]
        lines = [
            *([f"ABORTED: {self.aborted}"] if self.aborted else []),
            f"etcd {self.version}, seed {self.seed}: {self.kills} kills in {self.seconds:.0f} s",
            f"once more: tests/kills --seed {self.seed} --rounds {self.rounds}",
            "hit where they were aimed:",
            *(f"    {name}: {self.hit[name]} of {count}" for name, count in sorted(self.aimed.items())),
            "what the daemon was at:",
            *(f"    {phase.name.lower()}: {self.phases[phase]}" for phase in Phase),
            f"    left a file half made: {self.drafts}",
            f"on disk: nothing {self.nothing} times, as before; else a whole copy,",
            f"    {median(lags):g} events (median), {max(lags)} (most) behind what the reader was told",
            f"compared: {self.states} states, {self.by_etcd} of them, on disk, also with etcd's own read;",
            f"    {self.batches} batches, on disk and as told",
            f"etcd: {self.revisions} revisions in {self.generations} generations; {self.keys} keys last",
            f"starts: {self.starts}; with a copy, a whole snapshot was served after",
            f"    {median(answers):.2f} s (median), {max(answers):.2f} s (longest),",
            f"    {self.warm} times of {len(self.first_answers)} before etcd had answered",
            f"the reader: resumed {self.resumed} times; {self.gaps} gaps announced, where history was lost;",
            f"    {self.behind} starts in which reading everything was quicker than catching up",
            f"violations: {len(self.violations)}",
            *self.violations[:TOLD_IN_FULL],
        ]
        return "\n".join(lines)
