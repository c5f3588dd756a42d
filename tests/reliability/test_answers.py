"""What single reads are answered: each rule accepts what is true, and catches what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reliability.answers import Answer, Conditions, Range, Resumption, Value, judge_answer, learn
from tests.reliability.court import Claim, Court, Place
from tests.reliability.dialogue import EPOCH, EVERYTHING, HEARTBEAT, NEXT_EPOCH, broken, snapshot, written
from tests.reliability.rules import Watch
from tests.reliability.script import Script
from tests.reliability.tally import Tally
from tests.reliability.told import Progress, Snapshot

ASKED = 100.0
PROCESS, NEXT_PROCESS = 17, 18


def claim(revision: int, age_ms: int | None = 100, state: str = "live", epoch: str = EPOCH) -> Claim:
    """Asked at ASKED."""
    return Claim("poll", ASKED + 0.1, ASKED, epoch, revision, state, age_ms)


def court(script: Script) -> Court:
    """One that knows whose the epoch is."""
    court = Court(script.history, Tally(), HEARTBEAT)
    court.epochs.learn(EPOCH, 2, [(b"/c/a/!generation", b"0")])
    return court


def verdict(answer: Answer, script: Script | None = None) -> set[str]:
    """The rules that it breaks."""
    bench = court(script or written())
    assert judge_answer(bench, answer)
    assert bench.tally.reads == 1
    return broken(bench.tally)


@pytest.mark.parametrize("revision", range(2, 13))
@pytest.mark.parametrize("key", [b"/c/a/1", b"/c/a/2", b"/c/b/\xff", b"/c/never"])
def test_values_are_those_of_their_revision(key: bytes, revision: int) -> None:
    """Or of none, where there is none; every other one is wrong."""
    generation = written().history.current
    values = {generation.record(key, each) for each in range(1, 13)}
    for record in values:
        right = record == generation.record(key, revision)
        told = Answer(claim(revision), Value(key, record))
        assert verdict(told) == (set() if right else {"value"})


def test_snapshots_are_those_of_their_revision() -> None:
    """Torn ones are not, nor those that miss a key; without values they are compared without values."""
    generation = written().history.current
    told = snapshot(generation, b"/c/", 6)
    bare = tuple(record._replace(value=b"") for record in told.records)
    assert not verdict(Answer(claim(6), Range(b"/c/", told)))
    assert not verdict(Answer(claim(6), Range(b"/c/", replace(told, records=bare, keys_only=True))))
    wrong: list[Snapshot] = [
        replace(told, records=bare),
        replace(told, records=told.records[:-1]),
        replace(told, records=told.records[:-1], counts=(len(bare) - 1,) * 2),
        replace(told, counts=(len(bare), 0)),
        replace(snapshot(generation, b"/c/", 5), revision=6),
        replace(told, records=bare[::-1], keys_only=True),
    ]
    for mutant in wrong:
        assert verdict(Answer(claim(6), Range(b"/c/", mutant))) == {"snapshot"}


def test_a_snapshot_is_what_its_headers_say() -> None:
    """The same revision, of the same epoch."""
    told = snapshot(written().history.current, b"/c/", 6)
    assert verdict(Answer(claim(7), Range(b"/c/", told))) == {"snapshot"}
    assert verdict(Answer(claim(6), Range(b"/c/", replace(told, epoch=NEXT_EPOCH)))) == {"snapshot"}


@pytest.mark.parametrize(
    ("acknowledged", "age_ms", "rules"),
    [
        pytest.param(99.95, 100, set(), id="acknowledged after the moment of the proof"),
        pytest.param(99.9, 100, set(), id="in the same moment"),
        pytest.param(99.85, 100, {"age"}, id="before"),
        pytest.param(99.85, 200, set(), id="an honest age"),
        pytest.param(10.0, 50, {"age"}, id="long ago"),
    ],
)
@pytest.mark.parametrize("state", ["live", "stale"])
def test_the_age_is_never_too_low(acknowledged: float, age_ms: int, rules: set[str], state: str) -> None:
    """What was acknowledged before the moment that an answer speaks of is in it."""
    script = written()
    script.history.acknowledged(6, acknowledged)
    assert verdict(Answer(claim(5, age_ms, state)), script) == rules
    assert verdict(Answer(claim(6, age_ms, state)), script) == rules - {"age"}


@pytest.mark.parametrize("since", [0, 7])
def test_the_age_of_an_answer_of_an_earlier_generation(since: int) -> None:
    """It is wrong as soon as something of the later one was acknowledged before."""
    script = written()
    marked = script.restore(since)
    script.history.acknowledged(marked, 99.0)
    assert verdict(Answer(claim(12, 900, "stale")), script) == {"age"}
    assert not verdict(Answer(claim(12, 1100, "stale")), script)


def test_whatever_is_served_has_an_age() -> None:
    """It was read once, so it was proved once; and what was never proved is not live."""
    assert verdict(Answer(claim(12, None, "stale"))) == {"age"}
    assert verdict(Answer(claim(12, None, "live"))) == {"live"}


@pytest.mark.parametrize(
    ("process", "epoch", "revision", "asked", "right"),
    [
        pytest.param(PROCESS, EPOCH, 5, 100.0, False, id="it falls"),
        pytest.param(PROCESS, EPOCH, 12, 100.0, True, id="it stays"),
        pytest.param(PROCESS, EPOCH, 5, 99.0, True, id="asked before the other was answered"),
        pytest.param(PROCESS, NEXT_EPOCH, 5, 100.0, True, id="another epoch"),
        pytest.param(NEXT_PROCESS, EPOCH, 5, 100.0, True, id="another process"),
    ],
)
@pytest.mark.parametrize("watched", [False, True])
def test_the_revision_never_falls(
    watched: bool, process: int, epoch: str, revision: int, asked: float, right: bool
) -> None:
    """Below what a process has told anybody, with an answer or on a watch, before it is asked."""
    bench = court(written())
    if watched:
        Watch(bench, "watch", EVERYTHING, Place(EPOCH, 11), process=PROCESS).hear(
            Progress(12, "live", 1), 99.5
        )
    else:
        learn(bench, Answer(Claim("first", 99.5, 99.4, EPOCH, 12, "live", 1, PROCESS)))
    learn(bench, Answer(Claim("poll", 100.1, asked, epoch, revision, "live", 1, process)))
    assert broken(bench.tally) == (set() if right else {"ordered"})


def test_live_means_proved_within_the_heartbeat() -> None:
    """Older is stale."""
    assert not verdict(Answer(claim(12, 1000)))
    assert verdict(Answer(claim(12, 1001))) == {"live"}
    assert not verdict(Answer(claim(12, 99_000, "stale")))
    assert verdict(Answer(claim(12, 10, "cold"))) == {"live"}


def test_linearizable_means_nothing_is_missing() -> None:
    """Whatever was acknowledged before the question is in the answer; what came later need not be."""
    script = written()
    conditions = Conditions(linearizable=True)
    script.history.acknowledged(6, ASKED - 0.01)
    script.history.acknowledged(7, ASKED + 0.01)
    assert not verdict(Answer(claim(6), None, conditions), script)
    assert verdict(Answer(claim(5), None, conditions), script) == {"linearizable"}
    script.history.acknowledged(script.wipe(), ASKED - 0.001)
    assert verdict(Answer(claim(12), None, conditions), script) == {"linearizable"}


def test_min_revision_means_at_least() -> None:
    """Reading back one's own write."""
    assert not verdict(Answer(claim(6), None, Conditions(min_revision=6)))
    assert verdict(Answer(claim(5), None, Conditions(min_revision=6))) == {"min_revision"}


def test_max_age_means_not_older() -> None:
    """At some moment while the answer was made: this one took 100 ms."""
    assert not verdict(Answer(claim(6, 600), None, Conditions(max_age_ms=500)))
    assert verdict(Answer(claim(6, 602), None, Conditions(max_age_ms=500))) == {"max_age"}
    assert "max_age" in verdict(Answer(claim(6, None, "stale"), None, Conditions(max_age_ms=500)))


@pytest.mark.parametrize(
    ("place", "kept", "right"),
    [
        pytest.param(5, 9, False, id="all that came after it is kept"),
        pytest.param(5, 8, True, id="one event less is kept"),
        pytest.param(12, 0, False, id="nothing came after it"),
    ],
)
def test_a_place_is_not_forgotten_before_it_must_be(place: int, kept: int, right: bool) -> None:
    """Nine events changed the range after revision 5; what is outside of it fills no history."""
    bench = court(written())
    bench.history_events = kept
    assert judge_answer(bench, Answer(claim(12), Resumption(Place(EPOCH, place))))
    assert broken(bench.tally) == (set() if right else {"resumable"})


def test_an_answer_ahead_of_the_judge_waits() -> None:
    """So does one of an epoch of which nobody knows the generation."""
    bench = court(written())
    assert not judge_answer(bench, Answer(claim(13)))
    assert not judge_answer(bench, Answer(claim(5, epoch=NEXT_EPOCH)))
    assert bench.tally.reads == 0


def test_an_answer_may_tell_the_generation() -> None:
    """A marker's value, or a snapshot; a wrong one is a violation at once. Keys alone tell nothing."""
    script = written()
    told = snapshot(script.history.current, b"/c/", 6, NEXT_EPOCH)
    bench = court(script)
    marker = b"/c/a/!generation"
    record = script.history.current.record(marker, 6)
    learn(bench, Answer(claim(6, epoch="x"), Range(b"/c/", replace(told, keys_only=True))))
    assert bench.epochs.generation("x") is None
    learn(bench, Answer(claim(6, epoch="x"), Value(marker, record)))
    learn(bench, Answer(claim(6, epoch="y"), Range(b"/c/", told)))
    assert (bench.epochs.generation("x"), bench.epochs.generation("y")) == (0, 0)
    assert not bench.tally.violations
    assert record
    learn(bench, Answer(claim(6), Value(marker, record._replace(value=b"5"))))
    assert broken(bench.tally) == {"epoch"}
