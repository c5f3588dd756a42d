"""What a single read may be answered. Pure.

value         what the key held at the answer's revision
snapshot      see `rules`
linearizable  nothing is missing that was acknowledged before the question
min_revision  not below it
max_age       not older than was allowed, at some moment between question and answer
ordered       not below what its process had told anybody before the question
resumable     no 410 for a place whose future the daemon must still know
live, age     see `court`

What may be refused is told in `refusals`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from tests.reliability.court import Claim, Court, Place
from tests.reliability.history import Record
from tests.reliability.snapshots import judge_snapshot
from tests.reliability.told import Snapshot


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a read asked for beside the state; `wait_ms`: how long it may take until that is so."""

    linearizable: bool = False
    min_revision: int = 0
    max_age_ms: int | None = None
    wait_ms: int = 0

    def __bool__(self) -> bool:
        return self.linearizable or self.min_revision > 0 or self.max_age_ms is not None


NO_CONDITIONS = Conditions()


@dataclass(frozen=True, slots=True)
class Value:
    """What `key` held; `record` is None for "not found"."""

    key: bytes
    record: Record | None


@dataclass(frozen=True, slots=True)
class Range:
    """What all keys with `prefix` held."""

    prefix: bytes
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Resumption:
    """410 for `place`, which the same process had told in the same epoch."""

    place: Place


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a state in it; `claim` is what its headers said."""

    claim: Claim
    content: Value | Range | Resumption | None = None
    conditions: Conditions = NO_CONDITIONS


def learn(court: Court, answer: Answer) -> None:
    """Take note of how far the process is, and of the generation, if the answer tells it."""
    claim = answer.claim
    before = court.testimony.reached(claim.process, claim.epoch, claim.revision + 1)
    if before and before.at < claim.asked:
        told, true = f"asked at {claim.asked:.4f}", f"{before.revision} was told at {before.at:.4f}"
        court.tally.violated("ordered", claim.reader, told, true, claim.at, claim.epoch, claim.revision)
    court.testimony.told(claim.process, claim.epoch, claim.revision, claim.at)
    match answer.content:
        case Value(key, Record(value=value)):
            puts = [(key, value)]
        case Range(snapshot=Snapshot(keys_only=False, records=records)):
            puts = [(record.key, record.value) for record in records]
        case _:
            return
    if wrong := court.epochs.learn(claim.epoch, claim.revision, puts):
        court.tally.violated("epoch", claim.reader, "a marker", wrong, claim.at, claim.epoch, claim.revision)


def judge_answer(court: Court, answer: Answer) -> bool:
    """Judge it; False when the truth is not known yet."""
    claim = answer.claim
    generation = court.generation(claim.epoch, claim.revision)
    if generation is None or not court.judge_claim(claim):
        return False

    def violated(rule: str, told: object, true: object) -> None:
        court.tally.violated(rule, claim.reader, told, true, claim.at, claim.epoch, claim.revision)

    match answer.content:
        case Value(key, record):
            if record != (true := generation.record(key, claim.revision)):
                violated("value", f"{key!r}: {record}", true)
        case Range(prefix, snapshot):
            if (snapshot.epoch, snapshot.revision) != (claim.epoch, claim.revision):
                violated(
                    "snapshot", f"head: {snapshot.epoch!r}, {snapshot.revision}", "the headers say otherwise"
                )
            else:
                judge_snapshot(court, claim.reader, prefix, snapshot, generation, claim.at)
        case Resumption(place):
            # It holds all that came after the place, as it told the place: a later full read leaves no gap
            # there, and only what is more than the history keeps is let go of.
            count = sum(court.changed(generation, place.revision, claim.revision).values())
            if count <= court.history_events:
                violated("resumable", f"{place} cannot be told", f"only {count} events came after it")
    conditions = answer.conditions
    if conditions.linearizable and (
        lacks := court.history.lacks(generation.number, claim.revision, claim.asked)
    ):
        violated("linearizable", f"revision {claim.revision}, asked at {claim.asked:.4f}", lacks)
    if claim.revision < conditions.min_revision:
        violated("min_revision", f"revision {claim.revision}", f"asked for {conditions.min_revision}")
    # The daemon finds that it is fresh enough, and then says how old it is; between the two it may be slow,
    # or stopped, but not for longer than the answer took.
    took = (claim.at - claim.asked) * 1000
    if conditions.max_age_ms is not None and (
        claim.age_ms is None or claim.age_ms > ceil(conditions.max_age_ms + took)
    ):
        violated("max_age", f"{claim.age_ms} ms old", f"asked for {conditions.max_age_ms}")
    court.tally.reads += 1
    return True
