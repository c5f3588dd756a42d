"""A resync must lead its reader to what etcd held; each mutant of one leads elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.reliability.court import Court, Place
from tests.reliability.dialogue import (
    EPOCH,
    EVERYTHING,
    HEARTBEAT,
    NEXT_EPOCH,
    SELECTIONS,
    broken,
    honest,
    judged,
    resync,
    written,
)
from tests.reliability.history import Record
from tests.reliability.rules import Watch
from tests.reliability.tally import Tally
from tests.reliability.told import Batch, Selection, Told


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize(("place", "until"), [(3, 12), (5, 8), (9, 11)])
def test_an_honest_resync_breaks_no_rule(selection: Selection, place: int, until: int) -> None:
    """In the same epoch it leads to what etcd held, and the watch goes on from there."""
    script = written()
    generation = script.history.current
    line = resync(generation, selection, generation.state(selection.prefix, place), until)
    dialogue = [line, *honest(generation, selection, until, 12, begin=False)]
    tally = judged(script, dialogue, selection, Place(EPOCH, place))
    assert not tally.violations, tally.violations[0]
    assert tally.resyncs == 1


def test_a_resync_may_delete_what_the_reader_never_had() -> None:
    """A key that came and went meanwhile."""
    script = written()
    generation = script.history.current
    line = resync(generation, EVERYTHING, generation.state(b"/c/", 8), 10)
    gone = Told(b"/c/c/1", None, 10, None)
    assert gone not in line.events
    tally = judged(script, [replace(line, events=(*line.events, gone))], place=Place(EPOCH, 8))
    assert not tally.violations, tally.violations[0]


@pytest.mark.parametrize("since", [0, 7])
def test_an_honest_resync_into_another_generation_breaks_no_rule(since: int) -> None:
    """Wiped or restored: the difference between two histories, in another epoch."""
    script = written()
    old = script.history.current
    revision = script.restore(since)
    script.put((b"/c/a/1", b"new"))
    line = resync(script.history.current, EVERYTHING, old.state(b"/c/", 12), revision, NEXT_EPOCH)
    dialogue = [
        *honest(old, EVERYTHING, 2, 12),
        line,
        *honest(script.history.current, EVERYTHING, revision, revision + 1, begin=False),
    ]
    tally = judged(script, dialogue)
    assert not tally.violations, tally.violations[0]


# Resyncs: `line` is the honest one from revision 5 to 11.


def resync_without_a_put(line: Batch) -> Batch:
    return replace(line, events=tuple(event for event in line.events if event.key != b"/c/a/1"))


def resync_without_a_delete(line: Batch) -> Batch:
    return replace(line, events=tuple(event for event in line.events if event.kv))


def resync_with_an_old_value(line: Batch) -> Batch:
    old = tuple(
        event._replace(kv=event.kv._replace(value=b"one")) if event.kv and event.key == b"/c/a/1" else event
        for event in line.events
    )
    return replace(line, events=old)


def resync_deletes_what_is_there(line: Batch) -> Batch:
    return replace(line, events=(*line.events, Told(b"/c/a/!generation", None, 11, None)))


def resync_with_a_key_twice(line: Batch) -> Batch:
    return replace(line, events=(*line.events, line.events[0]))


def resync_outside(line: Batch) -> Batch:
    extra = Told(b"/o/1", Record(b"/o/1", b"too", 7, 11, 2, 0), 11, None)
    return replace(line, events=(*line.events, extra))


def resync_of_another_revision(line: Batch) -> Batch:
    return replace(line, revision=12)


@pytest.mark.parametrize(
    "mutant",
    [
        resync_without_a_put,
        resync_without_a_delete,
        resync_with_an_old_value,
        resync_deletes_what_is_there,
        resync_with_a_key_twice,
        resync_outside,
        resync_of_another_revision,
    ],
)
def test_a_wrong_resync_is_caught(mutant: Callable[[Batch], Batch]) -> None:
    """What the reader then holds is not what etcd held."""
    script = written()
    generation = script.history.current
    line = resync(generation, EVERYTHING, generation.state(b"/c/", 5), 11)
    assert mutant(line) != line
    assert broken(judged(script, [mutant(line)], place=Place(EPOCH, 5))) == {"resync"}


def test_a_resync_with_a_wrong_prev_is_caught() -> None:
    """It may leave out what was before, but not make it up."""
    script = written()
    generation = script.history.current
    held = generation.state(b"/c/", 5)
    line = resync(generation, EVERYTHING, held, 11)
    right = tuple(event._replace(prev=held.get(event.key)) for event in line.events)
    assert not judged(script, [replace(line, events=right)], place=Place(EPOCH, 5)).violations
    wrong = tuple(event._replace(prev=event.kv) for event in line.events)
    assert broken(judged(script, [replace(line, events=wrong)], place=Place(EPOCH, 5))) == {"prev_kv"}


def test_a_resync_that_goes_back_within_an_epoch_is_caught() -> None:
    """Revisions of one epoch only rise."""
    script = written()
    generation = script.history.current
    line = resync(generation, EVERYTHING, generation.state(b"/c/", 11), 9)
    assert broken(judged(script, [line], place=Place(EPOCH, 11))) == {"bookmarkable"}


def test_a_resync_that_misses_a_generation_is_caught() -> None:
    """It says the new epoch, and leaves a key of the old history standing."""
    script = written()
    old = script.history.current
    revision = script.wipe()
    line = resync(script.history.current, EVERYTHING, old.state(b"/c/", 12), revision, NEXT_EPOCH)
    without = tuple(event for event in line.events if event.key != b"/c/a/1")
    tally = judged(script, [replace(line, events=without)], place=Place(EPOCH, 12))
    assert broken(tally) == {"resync"}


@pytest.mark.parametrize(
    ("kept", "teller", "last", "right"),
    [
        pytest.param(9, 0, 12, False, id="all that came was kept, and told to somebody"),
        pytest.param(8, 0, 12, True, id="that is more than is kept"),
        pytest.param(9, 1, 12, True, id="another process told it"),
        pytest.param(9, 0, 11, True, id="the last one was told to nobody: it may have been read anew"),
    ],
)
def test_a_gap_where_there_is_none_is_caught(kept: int, teller: int, last: int, right: bool) -> None:
    """What came after the place was known, one by one, and is not more than the history keeps."""
    script, tally = written(), Tally()
    generation = script.history.current
    court = Court(script.history, tally, HEARTBEAT, history_events=kept)
    other = Watch(court, "another reader", EVERYTHING, process=teller)
    for each in honest(generation, EVERYTHING, 2, last):
        other.hear(each, 0.0)
    watch = Watch(court, "reader", EVERYTHING, Place(EPOCH, 5))
    watch.hear(resync(generation, EVERYTHING, generation.state(b"/c/", 5), 12), 0.0)
    watch.judge()
    assert watch.waiting == 0
    assert broken(tally) == (set() if right else {"resync"})
