"""How old a proof is that another process had, perhaps before the machine was started anew."""

from __future__ import annotations

import time
from pathlib import Path

from syncd.cache.layout import Proof

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another one each time that Linux starts (random(4))."""


def boot_time() -> float:
    """Seconds since the machine was started, time spent suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def proof_of(age: float | None) -> Proof | None:
    """The proof that is `age` seconds old now."""
    if age is None:
        return None
    return Proof(time.time() - age, _boot(), boot_time() - age)


def age_of(proof: Proof | None) -> float | None:
    """Seconds since then, rather too many than too few; None when nobody knows.

    Between two boots there is only the wall clock, which may have stood still, or gone back, as on a machine
    without a battery. At least all of this boot has passed since then.
    """
    if proof is None:
        return None
    if proof.boot and proof.boot == _boot():
        age = boot_time() - proof.since_boot  # negative in a container whose boot is said to be another time
        return age if age >= 0 else None
    age = time.time() - proof.wall
    return max(age, boot_time()) if age >= 0 else None


def _boot() -> str:
    """Which boot this is; empty when nobody knows."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
