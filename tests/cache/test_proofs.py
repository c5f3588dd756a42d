"""How old a proof is that another process had."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from syncd.cache import proofs
from syncd.cache.layout import Proof
from syncd.cache.proofs import age_of, boot_time, proof_of


class Machine:
    """Both clocks, and the boot, of a machine."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.wall = 1_700_000_000.0
        self.since_boot = 5_000.0
        self._id = folder / "boot_id"
        self.boot("one")
        patch.setattr(proofs, "BOOT_ID", self._id)
        patch.setattr(time, "time", lambda: self.wall)
        patch.setattr(proofs, "boot_time", lambda: self.since_boot)

    def boot(self, name: str | None) -> None:
        """Which boot this is; None when /proc does not show it."""
        self._id.unlink(missing_ok=True)
        if name is not None:
            self._id.write_text(f"{name}\n")

    def passes(self, seconds: float) -> None:
        """Time goes on."""
        self.wall += seconds
        self.since_boot += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine that the test may set as it likes."""
    return Machine(monkeypatch, tmp_path)


def test_within_one_boot_only_its_own_clock_counts(machine: Machine) -> None:
    """Whatever the wall clock is set to meanwhile."""
    proof = proof_of(3.0)
    machine.passes(60)
    for step in (0.0, 86_400.0, -86_400.0):
        machine.wall += step
        assert age_of(proof) == 63.0


def test_across_boots_the_wall_clock_counts(machine: Machine) -> None:
    """Though less time may have passed since the machine was started than before."""
    proof = proof_of(3.0)
    machine.boot("two")
    machine.wall += 600
    machine.since_boot = 5.0
    assert age_of(proof) == 603.0


def test_a_wall_clock_that_went_back_across_boots_tells_nothing(machine: Machine) -> None:
    """The age would be too low, which is worse than none."""
    proof = proof_of(3.0)
    machine.boot("two")
    machine.wall -= 4
    assert age_of(proof) is None


def test_without_a_name_of_the_boot_the_wall_clock_counts(machine: Machine) -> None:
    """Two boots without a name are not taken for one; nor does anything fail."""
    machine.boot(None)
    proof = proof_of(3.0)
    assert proof == Proof(machine.wall - 3, "", machine.since_boot - 3)
    machine.wall += 600
    machine.since_boot = 5.0
    assert age_of(proof) == 603.0
    machine.boot("two")
    assert age_of(proof) == 603.0


def test_what_was_never_proved_has_no_age(machine: Machine) -> None:
    """Neither before the end of the process nor after it."""
    assert proof_of(None) is None
    assert age_of(None) is None


def test_a_proof_from_later_than_now_tells_nothing(machine: Machine) -> None:
    """As in a container whose clock since the boot was set to something else."""
    proof = proof_of(0.0)
    machine.since_boot -= 1
    assert age_of(proof) is None


def test_at_least_all_of_this_boot_has_passed_since_another(machine: Machine) -> None:
    """A wall clock that stood still while the machine was off, or is not set yet, is not believed more."""
    proof = proof_of(3.0)
    machine.boot("two")
    machine.since_boot = 90.0
    machine.wall += 10
    assert age_of(proof) == 90.0


def test_this_machine_has_what_is_needed() -> None:
    """The clock that goes on in suspend, and the name of the boot: a proof from now is some moments old."""
    before = boot_time()
    proof = proof_of(2.0)
    assert proof
    assert proof.boot
    assert before - 2 <= proof.since_boot <= boot_time() - 2
    age = age_of(proof)
    assert age is not None
    assert 2.0 <= age < 30.0
