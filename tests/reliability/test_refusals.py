"""What readers are refused: right where it must be, and wrong everywhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reliability.answers import NO_CONDITIONS, Conditions
from tests.reliability.court import Claim, Court, Place
from tests.reliability.dialogue import EPOCH, HEARTBEAT, NEXT_EPOCH, broken, written
from tests.reliability.refusals import Processes
from tests.reliability.tally import Tally
from tests.reliability.told import Refusal

ASKED = 100.0
PROCESS, NEXT_PROCESS = 17, 18
PLACE = Place(EPOCH, 5)


def claim(
    revision: int,
    age_ms: int | None = 100,
    after: float = 0.1,
    epoch: str = EPOCH,
    process: int = PROCESS,
) -> Claim:
    """Asked at ASKED, answered `after` seconds."""
    return Claim("poll", ASKED + after, ASKED, epoch, revision, "stale", age_ms, process)


@pytest.fixture
def bench() -> Court:
    """A court."""
    return Court(written().history, Tally(), HEARTBEAT)


def test_what_was_served_once_is_never_gone(bench: Court) -> None:
    """not_ready is right only from a process that has not served yet."""
    processes = Processes(bench)
    refusal = Refusal("not_ready", "the first read has just begun")
    cold = claim(0, None, epoch="")
    processes.refused(cold, refusal)
    processes.served(claim(5, after=1))
    processes.refused(cold, refusal)  # was asked before that
    processes.refused(replace(cold, asked=ASKED + 2, process=NEXT_PROCESS), refusal)
    assert not bench.tally.violations
    processes.refused(replace(cold, asked=ASKED + 2), refusal)
    assert broken(bench.tally) == {"gone"}
    assert bench.tally.refusals == {"not_ready": 4}


@pytest.mark.parametrize(
    "conditions", [NO_CONDITIONS, Conditions(max_age_ms=1), Conditions(linearizable=True)]
)
@pytest.mark.parametrize(
    "code",
    ["internal", "overloaded", "forbidden", "bad_request", "not_mirrored", "not_found", "compacted", "else"],
)
def test_what_is_never_refused(bench: Court, code: str, conditions: Conditions) -> None:
    """Whatever the conditions are."""
    Processes(bench).refused(claim(5), Refusal(code, ""), conditions)
    assert broken(bench.tally) == {"refusal"}


def test_without_conditions_nothing_is_too_stale(bench: Court) -> None:
    """However old it is."""
    Processes(bench).refused(claim(5, 99_000), Refusal("too_stale", ""))
    assert broken(bench.tally) == {"gone"}


@pytest.mark.parametrize(("age_ms", "right"), [(500, False), (501, True), (0, False), (None, True)])
def test_too_stale_is_what_is_older_than_was_allowed(bench: Court, age_ms: int | None, right: bool) -> None:
    """The refusal itself says how old that is."""
    conditions = Conditions(max_age_ms=500)
    Processes(bench).refused(claim(5, age_ms), Refusal("too_stale", ""), conditions)
    assert broken(bench.tally) == (set() if right else {"refusal"})


@pytest.mark.parametrize(
    ("after", "told", "right"),
    [
        pytest.param(2.0, None, True, id="it was waited for"),
        pytest.param(1.9, None, False, id="not for as long as was granted"),
        pytest.param(2.0, (8, 1.4), False, id="somebody was told a later one meanwhile"),
        pytest.param(2.0, (7, 1.6), True, id="in the last moment"),
        pytest.param(2.0, (6, 0.5), True, id="an earlier one"),
    ],
)
def test_too_stale_is_what_is_not_reached(
    bench: Court, after: float, told: tuple[int, float] | None, right: bool
) -> None:
    """Revision 7 is asked for, and may take two seconds."""
    bench.testimony.told(PROCESS, EPOCH, 5, ASKED)
    bench.testimony.told(NEXT_PROCESS, EPOCH, 9, ASKED)
    if told:
        bench.testimony.told(PROCESS, EPOCH, told[0], ASKED + told[1])
    conditions = Conditions(min_revision=7, wait_ms=2000)
    Processes(bench).refused(claim(5, after=after), Refusal("too_stale", ""), conditions)
    assert broken(bench.tally) == (set() if right else {"refusal"})


@pytest.mark.parametrize(
    ("process", "epoch", "oldest", "right"),
    [
        pytest.param(PROCESS, EPOCH, 6, True, id="too long ago"),
        pytest.param(PROCESS, NEXT_EPOCH, 2, True, id="another epoch"),
        pytest.param(NEXT_PROCESS, EPOCH, 6, True, id="too long ago for another process"),
        pytest.param(NEXT_PROCESS, EPOCH, 2, False, id="another process has it from the disk"),
        pytest.param(PROCESS, EPOCH, 5, False, id="it could be told"),
        pytest.param(PROCESS, EPOCH, None, False, id="without oldest_revision"),
        pytest.param(PROCESS, EPOCH, 13, False, id="an oldest_revision that is yet to come"),
    ],
)
def test_a_place_is_refused_only_when_it_cannot_be_told(
    bench: Court, process: int, epoch: str, oldest: int | None, right: bool
) -> None:
    """410 is for what is too long ago, or of an epoch that is over."""
    refusal = Refusal("compacted", "gone", oldest)
    later = Processes(bench).resume_refused(claim(12, epoch=epoch, process=process), refusal, PLACE, PROCESS)
    assert broken(bench.tally) == (set() if right else {"resumable"})
    assert bench.tally.refusals == {"compacted": 1}
    # Whether that was too long ago, the history will tell.
    assert (later is not None) == (right and process == PROCESS and epoch == EPOCH)


@pytest.mark.parametrize(
    ("process", "revision", "state", "right"),
    [
        pytest.param(NEXT_PROCESS, 4, "warm", True, id="it has not come to the disk"),
        pytest.param(NEXT_PROCESS, 5, "warm", False, id="it has"),
        pytest.param(NEXT_PROCESS, 4, "live", False, id="etcd has told it again"),
        pytest.param(PROCESS, 4, "stale", False, id="it is the same process"),
        pytest.param(NEXT_PROCESS, -9, "stale", True, id="its copy is of another epoch"),
    ],
)
def test_a_place_may_be_ahead_of_another_process(
    bench: Court, process: int, revision: int, state: str, right: bool
) -> None:
    """What was told in the last moment before a crash is not on the disk, and etcd may be away."""
    epoch = EPOCH if revision > 0 else NEXT_EPOCH
    later = replace(claim(abs(revision), epoch=epoch, process=process), state=state)
    assert Processes(bench).resume_refused(later, Refusal("too_stale", ""), PLACE, PROCESS) is None
    assert broken(bench.tally) == (set() if right else {"gone"})


def test_what_was_on_the_disk_is_never_gone(bench: Court) -> None:
    """The next process has it from the start, when the one before had it for some seconds."""
    processes = Processes(bench)
    cold = replace(claim(0, None, epoch=""), process=NEXT_PROCESS)
    processes.served(claim(5))
    processes.served(claim(5, after=4))
    processes.refused(cold, Refusal("not_ready", ""))
    assert not bench.tally.violations
    processes.served(claim(5, after=6))
    processes.refused(cold, Refusal("not_ready", ""))
    assert broken(bench.tally) == {"gone"}


def test_a_place_is_refused_only_so(bench: Court) -> None:
    """Other codes are judged as for any question without conditions."""
    Processes(bench).resume_refused(claim(12), Refusal("too_stale", ""), PLACE, PROCESS)
    Processes(bench).resume_refused(claim(12), Refusal("overloaded", ""), PLACE, PROCESS)
    assert broken(bench.tally) == {"gone", "refusal"}


@pytest.mark.parametrize(
    ("refusal", "right"),
    [
        (Refusal("compacted", "too far behind", 7), True),
        (Refusal("compacted", "too far behind"), False),
        (Refusal("internal", "a fault of syncd"), False),
        (Refusal("too_stale", "etcd is down"), False),
    ],
)
def test_a_watch_that_has_begun_ends_only_when_too_far_behind(
    bench: Court, refusal: Refusal, right: bool
) -> None:
    """With the oldest revision that can still be told."""
    Processes(bench).broken_off(claim(5), refusal)
    assert broken(bench.tally) == (set() if right else {"refusal"})
    assert bench.tally.refusals == {refusal.code: 1}
