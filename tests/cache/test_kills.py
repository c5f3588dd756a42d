"""A daemon killed at random instants: what comes back is what etcd held, each time."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cache.kills import Run
from tests.cache.kills_court import Court, Place
from tests.cache.kills_load import MARK, PREFIX, changed
from tests.cache.kills_moments import DECK, MOMENTS, deck
from tests.cache.kills_report import MISSED_MOST, Report
from tests.cache.kills_saved import Saved, judge, strange
from tests.cache.kills_witness import Committed, Phase, Witness
from tests.reliability.history import Change, Event, History, Record

SEED = 7
ROUNDS = 14
"""A deck of moments, and one more."""

A, B = PREFIX + b"a", PREFIX + b"b"
PLACE = Place("1-a", 5)


async def test_what_comes_back_is_what_etcd_held() -> None:
    """Whatever a daemon is killed at: on disk is one revision of etcd's, and all goes on from there."""
    run = Run(SEED, ROUNDS)
    report = await run.run()
    print(report)  # pytest shows it when the test fails
    assert report.exit_code == 0, f"see above; files and log are in {run.evidence}"
    assert report.kills >= ROUNDS
    assert not report.unhit
    assert min(report.by_etcd, report.batches, report.warm, report.resumed, report.gaps) > 0


def test_a_deck_has_every_kind_of_moment() -> None:
    """And a run of CI's length plays it to its end."""
    assert set(deck(random.Random(SEED))) == set(MOMENTS)
    assert DECK <= ROUNDS


@pytest.fixture
def court() -> Court:
    """One that knows a history of five revisions, the third of them beside the range."""
    history = History()
    for changes in (
        [Change(MARK, Record(MARK, b"0", 2, 2, 1, 0), None)],
        [Change(b"/o/", Record(b"/o/", b"1", 3, 3, 1, 0), None)],
        [Change(key, Record(key, b"1", 4, 4, 1, 0), None) for key in (A, B)],
        [Change(A, Record(A, b"2", 4, 5, 2, 0), None), Change(B, None, None)],
    ):
        history.current.add(history.current.head + 1, changes)
    return Court(history)


@pytest.fixture
def right(court: Court) -> Saved:
    """What should be on disk."""
    generation = court.history.current
    state = generation.state(PREFIX, PLACE.revision)
    return Saved(PLACE, state, 1, changed(generation, 1, PLACE.revision), {PLACE.epoch})


def test_what_is_right_is_no_violation(court: Court, right: Saved) -> None:
    """The whole history, a part of it, and one that came to an end before the state did."""
    judge(court, right)
    judge(court, replace(right, oldest_revision=4, changes=right.changes[-1:]))
    state = court.history.current.state(PREFIX, 3)
    judge(court, Saved(Place("1-a", 3), state, 2, [], set()))
    assert court.violations == []
    assert [revision for revision, _ in right.changes] == [2, 4, 5]


def test_wrong_states_are_found(court: Court, right: Saved) -> None:
    """Of another revision, of two at a time, out of order, or from the future."""
    older, state = court.history.current.state(PREFIX, 4), right.state
    for wrong in (
        older,
        state | {B: older[B]},
        {MARK: state[MARK]},
        dict(reversed(state.items())),
        state | {A: state[A]._replace(version=1)},
    ):
        judge(court, replace(right, state=wrong))
    assert len(court.violations) == 5
    court.state("a reader", Place("1-a", 6), state)
    assert len(court.violations) == 6


def test_wrong_histories_are_found(court: Court, right: Saved) -> None:
    """A revision, an event or what was before is missing; or something comes twice."""
    (*first, (revision, (a, b))) = right.changes
    for wrong in (
        first,
        right.changes[1:],
        [*first, (revision, (a,))],
        [*first, (revision, (b, a))],
        [*first, (revision, (a, Event(B, None, None)))],
        [*right.changes, right.changes[-1]],
    ):
        judge(court, replace(right, changes=wrong))
    judge(court, replace(right, epochs={"1-a", "1-b"}))
    assert len(court.violations) == 7


def test_an_epoch_is_of_one_generation(court: Court, right: Saved) -> None:
    """Another etcd under the name of the one before is found; under a name of its own it is right."""
    judge(court, right)
    court.history.begin(since=1)
    mark = Record(MARK, b"1", 2, 2, 1, 0)
    court.history.current.add(2, [Change(MARK, mark, None)])
    court.state("a reader", Place("1-b", 2), {MARK: mark})
    assert court.violations == []
    court.state("a reader", Place("1-a", 2), {MARK: mark})
    assert len(court.violations) == 1


def test_a_witness_outlives_what_it_saw(tmp_path: Path) -> None:
    """Another process finds what was under way, what was said to be written, and how long it takes."""
    told, seen = (Witness(tmp_path / "witness") for _ in range(2))
    told.set(Phase.SWEEPING, on=True)
    with told.during(Phase.COMMITTING):
        assert seen.phases() == {Phase.SWEEPING, Phase.COMMITTING}
    told.commit("1-a", 5)
    assert seen.phases() == {Phase.SWEEPING}
    assert seen.committed == Committed(10, 5)
    assert seen.takes(Phase.COMMITTING) > 0
    seen.forget()
    assert (seen.phases(), seen.committed) == (set(), Committed(0, 0))
    assert seen.takes(Phase.COMMITTING) > 0


def test_files_that_should_not_be_there(tmp_path: Path) -> None:
    """A kill may leave a file half made, and the one that it was to replace; nothing may be set aside."""
    for name in ("lock", "k-0.1.lmdb", "k-0.1.lmdb-lock", "k-0.2.lmdb", "k-0.3.lmdb.new"):
        (tmp_path / name).touch()
    assert strange(tmp_path, by_itself=False) == []
    assert strange(tmp_path, by_itself=True) == ["k-0.3.lmdb.new", "k-0.2.lmdb"]
    (tmp_path / "k-0.0.lmdb.aside").touch()
    assert strange(tmp_path, by_itself=False) == ["k-0.0.lmdb.aside"]


def test_a_run_that_hits_nothing_fails() -> None:
    """So does one with a violation, or without an end."""
    report = Report("3.5.16", SEED, ROUNDS)
    report.aimed["commit"] = MISSED_MOST
    assert report.exit_code == 0
    report.aimed["commit"] += 1
    assert report.exit_code == 3
    report.hit["commit"] = 1
    assert report.exit_code == 0
    assert replace(report, aborted="no end").exit_code == 3
    assert replace(report, violations=["wrong"]).exit_code == 1
