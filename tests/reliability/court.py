"""What every judgement needs: the truth, the generation of an epoch, and where violations are noted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from tests.reliability.epochs import Epochs
from tests.reliability.history import Generation, History
from tests.reliability.tally import Tally
from tests.reliability.testimony import Testimony

STATES = ("live", "stale", "warm")
"""Of a range that is served."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An answer asked for at `asked` says: complete up to `revision` of `epoch`, proved `age_ms` ago.

    `process` gave it.
    """

    reader: str
    at: float
    asked: float
    epoch: str
    revision: int
    state: str
    age_ms: int | None
    process: int = 0


class Place(NamedTuple):
    """Everything up to `revision` of `epoch` was told."""

    epoch: str
    revision: int


@dataclass
class Court:
    """`heartbeat`: the daemon's, in seconds. `history_events`: how many of `range` it keeps, at least."""

    history: History
    tally: Tally
    heartbeat: float
    range: bytes = b"/c/"
    history_events: int = 0
    epochs: Epochs = field(init=False)
    testimony: Testimony = field(init=False, default_factory=Testimony)

    def __post_init__(self) -> None:
        self.epochs = Epochs(self.history)

    def generation(self, epoch: str, revision: int) -> Generation | None:
        """The generation of `epoch`; None as long as it isn't known, or not known up to `revision`."""
        number = self.epochs.generation(epoch)
        if number is None or (generation := self.history.of(number)).head < revision:
            return None
        return generation

    def unknown(self, place: Place) -> str:
        """Why nobody knows the truth about a place of which there is no generation."""
        number = self.epochs.generation(place.epoch)
        if number is None:
            return f"nobody was told which generation epoch {place.epoch!r} is of"
        head = self.history.of(number).head
        return f"generation {number} is known up to {head}, so {place.revision} is yet to come"

    def changed(self, generation: Generation, after: int, until: int) -> dict[int, int]:
        """The revisions past `after` that changed the mirrored range, and how many events each has."""
        counts = {
            revision: sum(event.key.startswith(self.range) for event in generation.events(revision))
            for revision in range(after + 1, until + 1)
        }
        return {revision: count for revision, count in counts.items() if count}

    def judge_epoch(
        self, reader: str, at: float, process: int, epoch: str, revision: int, generation: Generation
    ) -> None:
        """One process has one epoch for a generation: nothing there was ever lost."""
        if others := self.testimony.others(process, epoch, generation.number):
            true = f"process {process} told generation {generation.number} as {', '.join(others)} before"
            self.tally.violated("epoch", reader, f"epoch {epoch!r}", true, at, epoch, revision)

    def judge_state(
        self, reader: str, at: float, epoch: str, revision: int, state: str, age_ms: int | None
    ) -> None:
        """`live` means proved within the heartbeat. Whatever is served was read once, so it has an age."""
        if state not in STATES:
            self.tally.violated("live", reader, f"state {state!r}", f"one of {STATES}", at, epoch, revision)
        elif state == "live" and (age_ms is None or age_ms > ceil(self.heartbeat * 1000)):
            told, true = f"live, {age_ms} ms old", f"the heartbeat is {self.heartbeat:g} s"
            self.tally.violated("live", reader, told, true, at, epoch, revision)
        elif age_ms is None:
            self.tally.violated(
                "age", reader, f"{state}, without an age", "it was read once", at, epoch, revision
            )

    def judge_claim(self, claim: Claim) -> bool:
        """Nothing may be missing that was acknowledged `age_ms` before the question. False: not yet known."""
        generation = self.generation(claim.epoch, claim.revision)
        if generation is None:
            return False
        self.judge_epoch(claim.reader, claim.at, claim.process, claim.epoch, claim.revision, generation)
        self.judge_state(claim.reader, claim.at, claim.epoch, claim.revision, claim.state, claim.age_ms)
        if claim.age_ms is not None:
            proved = claim.asked - claim.age_ms / 1000
            lacks = self.history.lacks(generation.number, claim.revision, proved)
            if lacks:
                told = f"complete up to {claim.revision} {claim.age_ms} ms before it was asked for"
                self.tally.violated("age", claim.reader, told, lacks, claim.at, claim.epoch, claim.revision)
        return True
