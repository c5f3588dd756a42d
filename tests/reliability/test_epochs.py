"""Which generation an epoch belongs to, and when two cannot be one."""

from __future__ import annotations

import pytest

from tests.reliability.answers import Answer, Range, judge_answer, learn
from tests.reliability.court import Claim, Court, Place
from tests.reliability.dialogue import (
    EPOCH,
    EVERYTHING,
    HEARTBEAT,
    NEXT_EPOCH,
    batch,
    honest,
    resync,
    snapshot,
    written,
)
from tests.reliability.epochs import Epochs
from tests.reliability.rules import Watch
from tests.reliability.tally import Tally

PROCESS, NEXT_PROCESS = 17, 18
OLD, NEW = [(b"/c/b/!generation", b"0")], [(b"/c/b/!generation", b"1")]


def test_a_marker_tells() -> None:
    """Whichever group it is of; before, nothing is known, and other keys tell nothing."""
    script = written()
    script.wipe()
    epochs = Epochs(script.history)
    assert not epochs.learn(EPOCH, 5, [(b"/c/a/1", b"7")])
    assert epochs.generation(EPOCH) is None
    assert not epochs.learn(EPOCH, 5, OLD)
    assert not epochs.learn(EPOCH, 7, OLD)
    assert not epochs.learn(NEXT_EPOCH, 2, NEW)
    assert (epochs.generation(EPOCH), epochs.generation(NEXT_EPOCH)) == (0, 1)


def test_a_marker_of_no_generation_is_wrong() -> None:
    """The history is the only one who knows how many there are."""
    epochs = Epochs(written().history)
    assert "b'1'" in epochs.learn(EPOCH, 2, NEW)
    assert "b'x'" in epochs.learn(EPOCH, 2, [(b"/c/a/!generation", b"x")])
    assert epochs.generation(EPOCH) is None


def test_one_epoch_of_two_generations_is_wrong() -> None:
    """A wiped etcd under the old epoch: revisions were compared that cannot be."""
    script = written()
    script.wipe()
    epochs = Epochs(script.history)
    epochs.learn(EPOCH, 5, OLD)
    epochs.told(EPOCH, 5)
    assert "generation 1" in epochs.learn(EPOCH, 2, NEW)


def test_what_was_told_before_may_be_of_the_common_past() -> None:
    """A daemon that saw nothing of what a restore has undone goes on as if nothing had happened."""
    script = written()
    marked = script.restore(10)
    epochs = Epochs(script.history)
    epochs.learn(EPOCH, 5, OLD)
    epochs.told(EPOCH, 10)
    assert not epochs.learn(EPOCH, marked, NEW)
    assert epochs.generation(EPOCH) == 1
    assert not epochs.learn(EPOCH, 10, OLD), "an old line, read late"
    assert epochs.learn(EPOCH, 11, OLD), "but not of what the restore has undone"
    assert epochs.generation(EPOCH) == 1


def test_what_was_told_before_may_not_be_undone() -> None:
    """A revision above the restored one was told, so the new history is another epoch."""
    script = written()
    marked = script.restore(10)
    epochs = Epochs(script.history)
    epochs.learn(EPOCH, 5, OLD)
    epochs.told(EPOCH, 11)
    assert "11 was told" in epochs.learn(EPOCH, marked, NEW)


def test_a_watch_that_goes_on_into_another_generation_is_caught() -> None:
    """It tells the new marker under the old epoch, as an event like any other."""
    script = written()
    old = script.history.current
    marked = script.restore(7)
    line = batch(script.history.current, EVERYTHING, marked)
    assert line
    tally = Tally()
    watch = Watch(Court(script.history, tally, HEARTBEAT), "reader", EVERYTHING)
    for each in (*honest(old, EVERYTHING, 2, 8), line):
        watch.hear(each, 0.0)
    [violation] = tally.violations
    assert violation.rule == "epoch"


@pytest.mark.parametrize("process", [PROCESS, NEXT_PROCESS])
@pytest.mark.parametrize("told_by", ["a resync", "a snapshot", "an answer"])
def test_a_process_has_one_epoch_for_a_generation(told_by: str, process: int) -> None:
    """One that invents another at a reconnect is caught, once; another process may know no better."""
    generation = (script := written()).history.current
    court = Court(script.history, Tally(), HEARTBEAT)
    first = snapshot(generation, b"/c/", 11)
    watch = Watch(court, "reader", EVERYTHING, process=PROCESS)
    watch.hear(first, 1.0)
    watch.judge()
    second = snapshot(generation, b"/c/", 12, NEXT_EPOCH)
    answer = Answer(Claim("poll", 2.0, 1.9, NEXT_EPOCH, 12, "live", 10, process), Range(b"/c/", second))
    learn(court, answer)  # somebody has to tell whose the epoch is
    for _ in range(2):
        if told_by == "an answer":
            assert judge_answer(court, answer)
            continue
        watch = Watch(court, "reader", EVERYTHING, Place(EPOCH, 11), process=process)
        line = resync(generation, EVERYTHING, generation.state(b"/c/", 11), 12, NEXT_EPOCH)
        watch.hear(line if told_by == "a resync" else second, 2.0)
        watch.judge()
        assert watch.waiting == 0
    violations = court.tally.violations
    assert [violation.rule for violation in violations] == (["epoch"] if process == PROCESS else [])


def test_a_process_goes_on_in_its_epoch_or_in_another_with_a_new_generation() -> None:
    """Whether what it holds is of the common past, it knows."""
    script = written()
    script.restore(10)
    for epoch in (EPOCH, NEXT_EPOCH):
        court = Court(script.history, Tally(), HEARTBEAT)
        for number, name in enumerate((EPOCH, epoch)):
            court.judge_epoch("reader", 1.0, PROCESS, name, 10, script.history.of(number))
        assert not court.tally.violations


def test_a_watch_within_the_common_past_goes_on() -> None:
    """Up to the restored revision both generations are the same, so nothing was broken."""
    script = written()
    old = script.history.current
    marked = script.restore(7)
    tally = Tally()
    watch = Watch(Court(script.history, tally, HEARTBEAT), "reader", EVERYTHING)
    told = [
        *honest(old, EVERYTHING, 2, 7),
        *honest(script.history.current, EVERYTHING, 7, marked, begin=False),
    ]
    for each in told:
        watch.hear(each, 0.0)
        watch.judge()
    assert watch.waiting == 0
    assert not tally.violations
