"""What a reader may be refused, and when. Pure.

not_found   a value; that is an answer like others, see `answers`
not_ready   as long as nothing was served; another process begins with what the last one had, if that was
            there for long enough to be on the disk
too_stale   where more was asked for than is held: fresher, or newer, and then it was waited for as long as
            asked. Whether etcd could have told where it is (linearizable), nobody knows but the daemon. Or
            where a watch shall go on from what another process told in the moment before it was killed, or of
            another epoch than that of the copy, which etcd has not confirmed yet
compacted   where a watch shall go on from a place that cannot be told any more; or in one that fell behind

Nothing else: every question is well formed, about what is mirrored, and allowed; there are few readers; and
`internal` is never an answer.

What is broken is the rule `gone`, when something was served before and is not now; `resumable`, when a place
is refused; and `refusal` otherwise.
"""

from __future__ import annotations

from tests.reliability.answers import NO_CONDITIONS, Answer, Conditions, Resumption
from tests.reliability.court import Claim, Court, Place
from tests.reliability.told import Refusal

MOMENT_SECONDS = 0.5
"""Until a question that waits for a revision sees that it is there."""

SAVED_SECONDS = 5.0
"""Until what is served is on the disk; it takes 0.3 s when the machine is not busy."""


class Processes:
    """What each process of the daemon has shown that it can do."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._served: dict[int, float] = {}
        self._saved: int | None = None
        """The first process that has served for long enough."""

    def served(self, claim: Claim) -> None:
        """The process answered with a state."""
        since = self._served.setdefault(claim.process, claim.at)
        if self._saved is None and claim.at - since > SAVED_SECONDS:
            self._saved = claim.process

    def refused(self, claim: Claim, refusal: Refusal, conditions: Conditions = NO_CONDITIONS) -> None:
        """The process did not."""
        rule = "refusal"
        match refusal.code:
            case "not_ready":
                rule, wrong = "gone", self._not_ready(claim)
            case "too_stale" if conditions:
                wrong = self._too_stale(claim, conditions)
            case "too_stale":
                rule, wrong = "gone", "this was asked without conditions"
            case _:
                wrong = "nothing that was asked for is ever refused so"
        self._judged(rule, claim, refusal, wrong)

    def resume_refused(self, claim: Claim, refusal: Refusal, place: Place, told_by: int) -> Answer | None:
        """The process did not go on from `place`, which `told_by` had told.

        What is to be judged when the truth is known; None for nothing.
        """
        other = claim.process != told_by and claim.state != "live"
        ahead = other and (claim.revision < place.revision or claim.epoch != place.epoch)
        if refusal.code == "too_stale" and ahead:
            self._judged("resumable", claim, refusal, "")
            return None
        if refusal.code != "compacted":
            self.refused(claim, refusal)
            return None
        oldest, same = refusal.oldest_revision, claim.epoch == place.epoch
        wrong = ""
        if oldest is None:
            wrong = "410 comes with oldest_revision"
        elif oldest > claim.revision:
            wrong = f"oldest_revision is {oldest}, but nothing after {claim.revision} is held"
        elif same and oldest <= place.revision:
            wrong = f"{place} was told, the epoch is still the same, and {oldest} can still be told"
        self._judged("resumable", claim, refusal, wrong)
        # How much of the past another process has left is not judged.
        judged_later = same and claim.process == told_by and not wrong
        return Answer(claim, Resumption(place)) if judged_later else None

    def broken_off(self, claim: Claim, refusal: Refusal) -> None:
        """A watch that had begun ended with an error; `claim` is what was told last."""
        wrong = ""
        if refusal.code != "compacted":
            wrong = "a watch that has begun goes on, or is too far behind"
        elif refusal.oldest_revision is None:
            wrong = "`compacted` comes with oldest_revision"
        self._judged("refusal", claim, refusal, wrong)

    def _not_ready(self, claim: Claim) -> str:
        since = self._served.get(claim.process)
        if since is not None and since < claim.asked:
            return f"process {claim.process} has served this range before"
        if self._saved not in (None, claim.process):
            return f"process {self._saved} had it on the disk"
        return ""

    def _too_stale(self, claim: Claim, conditions: Conditions) -> str:
        age, least = claim.age_ms, conditions.min_revision
        if conditions.linearizable:
            return ""
        if conditions.max_age_ms is not None:
            fresh = age is not None and age <= conditions.max_age_ms
            return f"it is {age} ms old, {conditions.max_age_ms} were allowed" if fresh else ""
        waited = claim.at - claim.asked
        if waited < (granted := conditions.wait_ms / 1000):
            return f"after {waited:.3f} s, when {granted:g} s were granted"
        reached = self._court.testimony.reached(claim.process, claim.epoch, least)
        if reached and reached.at < claim.asked + granted - MOMENT_SECONDS:
            return f"revision {reached.revision} was told to somebody at {reached.at:.3f}"
        return ""

    def _judged(self, rule: str, claim: Claim, told: Refusal, wrong: str) -> None:
        self._court.tally.refusals[told.code] += 1
        if wrong:
            self._court.tally.violated(rule, claim.reader, told, wrong, claim.at, claim.epoch, claim.revision)
