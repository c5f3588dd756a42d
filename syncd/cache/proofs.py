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
    return Proof(time.time() - age, BOOT_ID.read_text().strip(), boot_time() - age)


def age_of(proof: Proof | None) -> float | None:
    """Seconds since then; None when nobody knows.

    Between two boots there is only the wall clock. Where that has gone back, as on a machine without a
    battery, the age would be too low.
    """
    if proof is None:
        return None
    if proof.boot == BOOT_ID.read_text().strip():
        return max(boot_time() - proof.since_boot, 0.0)
    age = time.time() - proof.wall
    return age if age >= 0 else None
