"""Small disks that tests may fill, or make read-only: as root, they are mounted for a while."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A file system of its own, in memory, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, spare: int = 0) -> None:
        """Take what is free, but `spare` bytes."""
        with self._ballast.open("ab", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(1 << 16))
        with self._ballast.open("r+b") as ballast:
            ballast.truncate(max(self._ballast.stat().st_size - spare, 0))

    def clear(self) -> None:
        """Give that back."""
        self._ballast.unlink()

    def make_read_only(self) -> None:
        """Nobody can write any more; nobody may have a file open for that."""
        _run("mount", "-o", "remount,ro", str(self.path))


@contextmanager
def disk(path: Path, size: str) -> Iterator[Disk]:
    """A disk of `size`, mounted at `path`; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a full or read-only disk (needs root, to mount one)")
    path.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(path))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT TESTED: a full or read-only disk ({error.stderr.decode().strip()})")
    try:
        yield Disk(path)
    finally:
        _run("umount", str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
