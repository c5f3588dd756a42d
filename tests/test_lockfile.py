"""The lock that says who holds it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.lockfile import HeldError, holder, locked


def test_the_holder_is_known(tmp_path: Path) -> None:
    """While it holds the lock, by its pid; the file alone says nothing, nor does a lock of another kind."""
    path = tmp_path / "lock"
    assert holder(path) is None
    with locked(path):
        assert holder(path) == os.getpid()
    assert path.exists()
    assert holder(path) is None
    with path.open() as shared:
        fcntl.flock(shared, fcntl.LOCK_SH)
        assert holder(path) is None


def test_a_second_one_is_told_of_the_first(tmp_path: Path) -> None:
    """By its pid; and the lock goes with the process, though that is killed."""
    path = tmp_path / "lock"
    program = (
        "import sys, time; from pathlib import Path; from syncd.lockfile import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as first:
        assert first.stdout
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(HeldError) as refused, locked(path):
            pass
        assert refused.value.pid == first.pid
        first.kill()
    with locked(path):
        assert holder(path) == os.getpid()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """It may lead to somebody's file, which would be written over."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(OSError, match="Too many levels"), locked(tmp_path / "lock"):
        pass
    assert precious.read_text() == "precious"
