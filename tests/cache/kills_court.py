"""What was seen, held against what etcd did: one call for each kind of thing seen. What is wrong is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.cache.kills_load import MARK, PREFIX, Changed, changed
from tests.reliability.history import Generation, History, Record

State = Mapping[bytes, Record]

TEXT = 1000
"""Characters of a violation that are kept: values may be long."""

SHOWN = 5
"""Differences that a violation tells."""


@dataclass(frozen=True, slots=True)
class Place:
    """A revision of an epoch."""

    epoch: str
    revision: int


@dataclass(slots=True)
class Court:
    """Judges by `history`."""

    history: History
    violations: list[str] = field(default_factory=list)
    states: int = 0
    """Whole states compared,"""
    batches: int = 0
    """and batches, on disk and told to the reader."""
    _epochs: dict[str, int] = field(default_factory=dict)

    def violated(self, who: str, what: str) -> None:
        """It is not as it should be."""
        text = f"{who}: {what}"
        self.violations.append(text if len(text) <= TEXT else f"{text[:TEXT]}…")

    def generation_of(self, who: str, epoch: str, state: State) -> Generation:
        """Whose `state` it is. An epoch is of one generation, for all that ever see it."""
        mark = state.get(MARK)
        # Before the mark is written there is nothing, and that is only so at the beginning.
        generation = self.history.of(int(mark.value)) if mark else self.history.current
        known = self._epochs.setdefault(epoch, generation.number)
        if known != generation.number:
            self.violated(who, f"epoch {epoch} is of generation {known}, and shows {generation.number}")
        return generation

    def state(self, who: str, place: Place, state: State, *, ordered: bool = True) -> Generation:
        """`state` is all that the range held at `place`, in key order; the generation that it is of."""
        generation = self.generation_of(who, place.epoch, state)
        true = generation.state(PREFIX, place.revision)
        self.states += 1
        self._must_have_come(who, generation, place.revision)
        if wrong := [key for key in sorted(state.keys() | true) if state.get(key) != true.get(key)]:
            shown = "; ".join(f"{state.get(key)}, true is {true.get(key)}" for key in wrong[:SHOWN])
            self.violated(who, f"{len(wrong)} of {len(true)} keys are wrong at {place}: {shown}")
        elif ordered and list(state) != list(true):
            self.violated(who, f"the keys are out of order at {place}")
        return generation

    def changes(
        self, who: str, generation: Generation, after: int, until: int, told: Sequence[Changed]
    ) -> None:
        """`told` is all that happened to the range after revision `after`, up to `until`."""
        self._must_have_come(who, generation, until)
        true = changed(generation, after, min(until, generation.head))
        self.batches += len(told)
        if list(told) == true:
            return
        revisions, real = [number for number, _ in told], [number for number, _ in true]
        if revisions != real:
            differing = sorted(set(revisions) ^ set(real))[:SHOWN] or "the order"
            what = f"{len(revisions)} revisions instead of {len(real)}; they differ in {differing}"
        else:
            wrong = next(pair for pair in zip(told, true, strict=True) if pair[0] != pair[1])
            what = f"it was {wrong[0]}, and should be {wrong[1]}"
        self.violated(who, f"the changes from {after} to {until} are wrong: {what}")

    def _must_have_come(self, who: str, generation: Generation, revision: int) -> None:
        if revision > generation.head:
            what = f"generation {generation.number} has come to {generation.head}"
            self.violated(who, f"it is at revision {revision}, and {what}")
