"""Runs `syncd` with a cache that has more to do, and tells what it is at whoever wants to kill it just then.

python -m tests.cache.kills_daemon run -c CONFIG

Journals are short, so there are many sweeps; pieces are small, so a sweep takes many transactions; what is
free in a file soon is too much, so that it is made anew. What syncd does is what it always does.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from syncd.cache import file, keeper, sweep
from syncd.cache.file import Change, File
from syncd.cli.main import main
from syncd.daemon import run
from syncd.keyrange import KeyRange
from syncd.sync import Mirror, turns
from tests.cache.kills_witness import VARIABLE, Phase, Witness

MODULE = "tests.cache.kills_daemon"

SWEEP_EVENTS = 200
SWEEP_BYTES = 256 << 10

SMALLER: dict[ModuleType, dict[str, Any]] = {
    file: {
        "SWEEP_EVENTS": SWEEP_EVENTS,
        "SWEEP_BYTES": SWEEP_BYTES,
        "SWEEP_EVENTS_A_BLOCK": 0,
        "WASTE_LEAST": 256 << 10,
    },
    sweep: {"PIECE": 32 << 10},
    keeper: {
        "SWEEP_EVENTS": SWEEP_EVENTS,
        "SWEEP_BYTES": SWEEP_BYTES,
        "GATHER": 0.02,
        "PROOF_EVERY": 0.5,
    },
    turns: {"SPREAD": 1.0, "SPREAD_LEAST": 0.05},
}
"""What tests need not wait for. The last are of re-reads: there is no herd here."""

witness: Witness


class MarkedFile(File):
    """Says what is being done to it."""

    def __init__(self, path: Path, keys: KeyRange, change: Change) -> None:
        witness.set(Phase.SWEEPING, on=False)
        with witness.during(Phase.MAKING):
            super().__init__(path, keys, change)
        witness.commit(change.epoch, change.revision)

    def commit(self, change: Change) -> None:
        """As ever."""
        with witness.during(Phase.COMMITTING):
            super().commit(change)
        witness.commit(change.epoch, change.revision)
        witness.set(Phase.SWEEPING, on=self.sweeping)


class MarkedMirror(Mirror):
    """Says when it reads."""

    async def _read(self, reason: str) -> None:
        with witness.during(Phase.REREADING if self.store.ready else Phase.READING):
            await super()._read(reason)


if __name__ == "__main__":
    witness = Witness(Path(os.environ[VARIABLE]))
    with ExitStack() as patches:
        for module, constants in SMALLER.items():
            patches.enter_context(patch.multiple(module, **constants))
        patches.enter_context(patch.object(keeper, "File", MarkedFile))
        patches.enter_context(patch.dict(run.__globals__, Mirror=MarkedMirror))
        code = main()
    sys.exit(code)
