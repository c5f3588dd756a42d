"""Runs `syncd` with a wall clock that is wrong: a process may not set the machine's own.

    SHIFTED_BY=FILE python -m tests.reliability.shifted run -c CONFIG

FILE holds the seconds to add, and is read at every look at the clock. Only `time.time` is shifted: what
counts time since boot goes on, as it does when an operator or NTP sets a clock.
"""

import os
import sys
import time
from pathlib import Path

VARIABLE = "SHIFTED_BY"
WIDTH = 20
"""Bytes of FILE: overwritten in one write, so that a reader never sees half a number."""


def shift(file: Path, seconds: int) -> None:
    """Have the clock of whoever runs with `file` be wrong by that much from now on."""
    text = f"{seconds:{WIDTH}}".encode()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, text, 0)
    finally:
        os.close(descriptor)


def main() -> None:
    """Do what `syncd` does with these arguments."""
    file = os.open(os.environ[VARIABLE], os.O_RDONLY)
    real = time.time
    time.time = lambda: real() + int(os.pread(file, WIDTH, 0))

    from syncd.cli.main import main as syncd

    sys.exit(syncd())


if __name__ == "__main__":
    main()
