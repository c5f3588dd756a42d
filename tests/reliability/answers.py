"""What a single read may be answered. Pure.

value         what the key held at the answer's revision
snapshot      see `rules`
linearizable  nothing is missing that was acknowledged before the question
min_revision  not below it
max_age       not older than was allowed
gone          what a process has served once, it serves; a read without conditions is never refused for that
resumable     410 only where the place really cannot be told any more
live, age     see `court`
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reliability.court import Claim, Court
from tests.reliability.history import Record
from tests.reliability.rules import Place, judge_snapshot
from tests.reliability.told import Refusal, Snapshot

MAX_AGE_SLACK_MS = 250
"""An answer is found fresh enough, and then its age is taken: on a busy machine not in the same moment."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a read asked for beside the state."""

    linearizable: bool = False
    min_revision: int = 0
    max_age_ms: int | None = None

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
class Answer:
    """An answer with a state in it; `claim` is what its headers said."""

    claim: Claim
    content: Value | Range | None = None
    conditions: Conditions = NO_CONDITIONS


def learn(court: Court, answer: Answer) -> None:
    """Take note of the generation, if the answer tells it."""
    claim = answer.claim
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
    conditions = answer.conditions
    if conditions.linearizable and (
        lacks := court.history.lacks(generation.number, claim.revision, claim.asked)
    ):
        violated("linearizable", f"revision {claim.revision}, asked at {claim.asked:.4f}", lacks)
    if claim.revision < conditions.min_revision:
        violated("min_revision", f"revision {claim.revision}", f"asked for {conditions.min_revision}")
    if conditions.max_age_ms is not None and (
        claim.age_ms is None or claim.age_ms > conditions.max_age_ms + MAX_AGE_SLACK_MS
    ):
        violated("max_age", f"{claim.age_ms} ms old", f"asked for {conditions.max_age_ms}")
    court.tally.reads += 1
    return True


class Processes:
    """What each process of the daemon has shown that it can do."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._served: dict[int, float] = {}

    def served(self, pid: int, at: float) -> None:
        """The process answered with a state."""
        self._served.setdefault(pid, at)

    def refused(
        self, pid: int, claim: Claim, refusal: Refusal, conditions: Conditions = NO_CONDITIONS
    ) -> None:
        """The process did not."""
        self._court.tally.refusals[refusal.code] += 1
        wrong = ""
        if refusal.code == "not_ready" and self._served.get(pid, claim.asked) < claim.asked:
            wrong = f"process {pid} has served this range before"
        if refusal.code in ("too_stale", "internal", "bad_request", "not_mirrored") and not conditions:
            wrong = "this was asked without conditions, and is mirrored"
        if wrong:
            self._court.tally.violated(
                "gone", claim.reader, refusal, wrong, claim.at, claim.epoch, claim.revision
            )

    def resume_refused(self, pid: int, claim: Claim, refusal: Refusal, place: Place, told_by: int) -> None:
        """The process did not go on from `place`, which `told_by` had told; the headers are in `claim`."""
        if refusal.code != "compacted":
            self.refused(pid, claim, refusal)
            return
        self._court.tally.refusals[refusal.code] += 1
        oldest = refusal.oldest_revision
        if oldest is None:
            wrong = "410 comes with oldest_revision"
        elif oldest > claim.revision:
            wrong = f"oldest_revision is {oldest}, but nothing after {claim.revision} is held"
        elif pid == told_by and claim.epoch == place.epoch and oldest <= place.revision:
            wrong = f"the same process told {place}, its epoch is the same, and {oldest} can still be told"
        else:
            return
        self._court.tally.violated(
            "resumable", claim.reader, refusal, wrong, claim.at, claim.epoch, claim.revision
        )
