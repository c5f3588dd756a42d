"""Every rule accepts an honest watch, and catches the mutants of it that break the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.reliability.court import Court, Place
from tests.reliability.dialogue import (
    EPOCH,
    EVERYTHING,
    HEARTBEAT,
    SELECTIONS,
    Dialogue,
    batch,
    broken,
    honest,
    judged,
    written,
)
from tests.reliability.mutants import MUTANTS, changed, snapshot_of_another_revision, torn_snapshot
from tests.reliability.rules import Watch
from tests.reliability.script import Script
from tests.reliability.tally import Tally
from tests.reliability.told import Batch, Progress, Selection


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize("after", [2, 5, 12])
def test_an_honest_watch_breaks_no_rule(selection: Selection, after: int) -> None:
    """Whatever is asked for, and wherever it begins; and everything is counted."""
    script = written()
    dialogue = honest(script.history.current, selection, after, 12)
    tally = judged(script, dialogue, selection)
    assert not tally.violations, tally.violations[0]
    batches = [line for line in dialogue if isinstance(line, Batch)]
    assert (tally.snapshots, tally.batches) == (1, len(batches))
    assert tally.events == sum(len(line.events) for line in batches)
    assert tally.progresses == len(dialogue) - 1 - len(batches)


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_an_honest_resumed_watch_breaks_no_rule(selection: Selection) -> None:
    """It begins after any place."""
    script = written()
    for after in range(2, 13):
        dialogue = honest(script.history.current, selection, after, 12, begin=False)
        tally = judged(script, dialogue, selection, Place(EPOCH, after), resumed=True)
        assert not tally.violations, tally.violations[0]


@pytest.mark.parametrize(("mutant", "rule"), MUTANTS, ids=lambda of: getattr(of, "__name__", of))
def test_a_mutant_is_caught(mutant: Callable[[Dialogue], Dialogue], rule: str) -> None:
    """By the rule that it breaks; and what was told and what is true stand in the violation."""
    script = written()
    told = mutant(honest(script.history.current, EVERYTHING, 4 if mutant is torn_snapshot else 2, 12))
    tally = judged(script, told)
    assert rule in broken(tally)
    violation = next(v for v in tally.violations if v.rule == rule)
    assert violation.told
    assert violation.true
    assert (violation.reader, violation.epoch) == ("reader", EPOCH)


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [entry for entry in MUTANTS if entry[0] not in (torn_snapshot, snapshot_of_another_revision)],
    ids=lambda of: getattr(of, "__name__", of),
)
def test_after_a_violation_the_court_goes_on(mutant: Callable[[Dialogue], Dialogue], rule: str) -> None:
    """One fault is one or two violations, not one for every line that follows."""
    script = written()
    tally = judged(script, mutant(honest(script.history.current, EVERYTHING, 2, 12)))
    assert len(tally.violations) <= 2, [str(violation) for violation in tally.violations]


@pytest.mark.parametrize(("only", "wrong"), [("put", 8), ("delete", 5)])
def test_events_that_were_not_asked_for_are_caught(only: str, wrong: int) -> None:
    """events=put tells no delete, events=delete no put."""
    script = written()
    generation = script.history.current
    selection = Selection(b"/c/", only="put" if only == "put" else "delete")
    extra = batch(generation, Selection(b"/c/"), wrong)
    assert extra
    dialogue = honest(generation, selection, wrong - 1, wrong - 1)
    assert broken(judged(script, [*dialogue, extra], selection)) == {"filter"}


def test_events_that_were_asked_for_may_not_be_left_out() -> None:
    """A filter is no excuse."""
    script = written()
    selection = Selection(b"/c/", only="delete")
    dialogue = changed(honest(script.history.current, selection, 2, 12), 8)
    assert broken(judged(script, dialogue, selection)) == {"reliable"}


def test_what_was_not_asked_for_may_not_be_told() -> None:
    """Without prev_kv there is none."""
    script = written()
    dialogue = honest(script.history.current, EVERYTHING, 2, 12)
    assert broken(judged(script, dialogue, replace(EVERYTHING, prev_kv=False))) == {"prev_kv"}


@pytest.mark.parametrize("progress", [False, True])
def test_a_resumed_watch_that_begins_too_late_is_caught(progress: bool) -> None:
    """The first line after from=4 must be revision 5's."""
    script = written()
    dialogue = honest(script.history.current, EVERYTHING, 4, 12, begin=False)
    late: Dialogue = [Progress(5, "live", 1)] if progress else []
    tally = judged(script, [*late, *dialogue[1:]], place=Place(EPOCH, 4), resumed=True)
    assert broken(tally) == {"resumable"}
    assert len(tally.violations) == 1


def test_a_resumed_watch_that_begins_too_early_is_caught() -> None:
    """What was told before is told again."""
    script = written()
    dialogue = honest(script.history.current, EVERYTHING, 3, 12, begin=False)
    assert broken(judged(script, dialogue, place=Place(EPOCH, 5), resumed=True)) & {"ordered", "unique"}


def test_an_event_of_the_wrong_generation_is_caught() -> None:
    """In the old epoch something is told that only the new generation did."""
    script = written()
    revision = script.restore(7)
    script.put((b"/c/a/1", b"only in generation 1"))
    foreign = batch(script.history.current, EVERYTHING, revision + 1)
    assert foreign
    old = script.history.of(0)
    dialogue = [*honest(old, EVERYTHING, 2, 8), foreign]
    assert broken(judged(script, dialogue)) == {"reliable"}


def test_what_is_ahead_of_the_judge_waits() -> None:
    """Nothing is judged before the truth is known, and then in order."""
    script = written()
    dialogue = honest(script.history.current, EVERYTHING, 2, 12)
    late = Script()
    tally = Tally()
    watch = Watch(Court(late.history, tally, HEARTBEAT), "reader", EVERYTHING)
    for line in dialogue:
        watch.hear(line, 0.0)
    watch.judge()
    assert watch.waiting == len(dialogue)
    for revision in range(2, 13):
        late._write(
            [(event.key, event.kv and event.kv.value) for event in script.history.current.events(revision)]
        )
        watch.judge()
    assert watch.waiting == 0
    assert not tally.violations
    assert tally.snapshots == 1


def test_what_was_never_told_under_a_marker_waits() -> None:
    """As long as nobody knows the generation of an epoch, nothing can be said about it."""
    script = written()
    tally = Tally()
    court = Court(script.history, tally, HEARTBEAT)
    watch = Watch(court, "reader", EVERYTHING, Place(EPOCH, 2))
    for line in honest(script.history.current, EVERYTHING, 2, 12, begin=False):
        watch.hear(line, 0.0)
    watch.judge()
    assert watch.waiting > 0
    assert tally.batches == 0
    court.epochs.learn(EPOCH, 2, [(b"/c/b/!generation", b"0")])
    watch.judge()
    assert watch.waiting == 0
    assert not tally.violations


def test_a_silent_watch_is_caught() -> None:
    """A watch that was forgotten tells nothing wrong: it tells nothing. Once for each time."""
    script = written()
    tally = Tally()
    watch = Watch(Court(script.history, tally, HEARTBEAT), "reader", EVERYTHING, Place(EPOCH, 2))
    watch.wait(980.0, 1.0)
    watch.wait(991.0, 1.0)
    watch.hear(Progress(2, "live", 1), 1000.0)
    watch.wait(1011.0, 1.0)
    assert not tally.violations
    watch.wait(1011.1, 1.0)
    watch.wait(1012.0, 1.0)
    assert [violation.rule for violation in tally.violations] == ["heartbeat"]
