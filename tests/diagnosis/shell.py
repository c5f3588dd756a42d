"""A shell into which the commands of cures are pasted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.etcd import PROGRAMS


def commands(cure: str) -> list[str]:
    """Those that stand in it, each on a line of its own."""
    return [line.strip() for line in cure.splitlines() if line.startswith("  ")]


def paste(command: str, directory: Path, version: str = "") -> str:
    """Run one in `directory`, with that version's etcdctl, and return what it prints; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    environment["PATH"] = f"{PROGRAMS / version}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{command}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout
