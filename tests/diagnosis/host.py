"""As another user, and as one who does what a finding says."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syncd.findings import Finding

NOBODY = 65534
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: what another user may not do on this host (needs root)"
)


def run_cure(finding: Finding) -> None:
    """Run the commands of a cure, as whoever this is."""
    commands = [line.strip() for line in finding.cure.split("\n") if line.startswith("  ")]
    assert commands, finding.cure
    for command in commands:
        subprocess.run(["sh", "-c", command.removeprefix("sudo ")], check=True)


@contextmanager
def as_nobody() -> Iterator[None]:
    """As another user than root, in no group but root's."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
