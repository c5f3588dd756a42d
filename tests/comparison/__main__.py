"""The command."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.comparison.run import run
from tests.etcd import USUAL_VERSION

VERSIONS = ("3.5.16", "3.5.30")
"""Older ones read JSON in another way."""


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="tests/differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None, help="repeats what was drawn from it")
    parser.add_argument("--etcd", default=USUAL_VERSION, choices=VERSIONS)
    chosen = parser.parse_args()
    report = run(chosen.etcd, secrets.randbits(32) if chosen.seed is None else chosen.seed, chosen.cases)
    print(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
