"""The schedule: the same again for a seed, even, and never two faults that undo each other."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, islice

import pytest

from tests.reliability.faults import FAULTS
from tests.reliability.kinds import Kind, Part, kind
from tests.reliability.schedule import FAULTS_A_ROUND, LATEST, Round, rounds

KINDS = tuple(FAULTS)
SEEDS = range(20)


def played(seed: int, number: int, kinds: tuple[Kind, ...] = KINDS) -> list[Round]:
    """The first rounds of a seed."""
    return list(islice(rounds(kinds, seed), number))


def test_a_seed_gives_the_same_again() -> None:
    """Whatever the order in which the kinds are named; another seed gives something else."""
    assert played(1, 50) == played(1, 50, KINDS[::-1])
    assert played(1, 50) != played(2, 50)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_comes_up_evenly(seed: int) -> None:
    """A deck is dealt to its end, but for a few cards, before the next one: in short runs as in long ones."""
    counts = Counter[Kind]()
    for planned in played(seed, 300):
        counts.update(fault.kind for fault in planned.faults)
        assert max(counts.values()) - min(counts[kind] for kind in KINDS) <= 2
    assert set(counts) == set(KINDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_of_a_round_leave_each_other_alone(seed: int) -> None:
    """No two of them take the same part of the stage, and what takes all parts comes alone."""
    sizes = Counter[int]()
    for planned in played(seed, 300):
        sizes[len(planned.faults)] += 1
        for one, other in combinations(planned.faults, 2):
            assert not one.kind.takes & other.kind.takes
            assert not one.kind.alone
    assert set(sizes) == set(FAULTS_A_ROUND)


def test_times_are_drawn_within_bounds() -> None:
    """Faults begin within the round's first moment, hold as long as their kind may, and differ."""
    faults = [fault for planned in played(3, 100) for fault in planned.faults]
    for fault in faults:
        assert 0 <= fault.offset <= LATEST
        assert fault.kind.hold[0] <= fault.hold <= fault.kind.hold[1]
    assert len({fault.seed for fault in faults}) == len(faults)
    assert [planned.number for planned in played(3, 100)] == list(range(1, 101))


def test_one_kind_alone() -> None:
    """Hunting with one kind: every round is that."""
    lone = kind("lone", Part.ROAD)
    assert {fault.kind for planned in played(1, 20, (lone,)) for fault in planned.faults} == {lone}


def test_names_are_unique() -> None:
    """A report counts by name."""
    assert len({kind.name for kind in KINDS}) == len(KINDS)
