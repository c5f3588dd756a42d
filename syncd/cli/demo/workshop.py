"""A folder and processes that are gone afterwards, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from syncd.errors import SyncdError

PATIENCE = 20.0
"""Seconds after which something that should happen is taken not to happen; all of it takes far less."""

BETWEEN_LOOKS = 0.02
"""Seconds between two looks at something that cannot be waited for."""

POLITE = 5.0
"""Seconds that a process may take to end by itself."""

LONGEST_FOLDER = 80
"""A Unix socket's path has at most 107 bytes, and some $TMPDIR are long."""

FoundT = TypeVar("FoundT")


class DemoError(SyncdError):
    """Something did not happen as promised."""


class Workshop:
    """Keeps a temporary folder and the processes started in it; leaving the `with` ends and removes all."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="syncd-demo-"))
        if len(str(folder)) > LONGEST_FOLDER:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="syncd-demo-", dir="/tmp"))
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to `NAME.log`; Ctrl-C does not reach it, only us."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the demo's own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # etcd would take any ETCD_… of the environment for a flag.
                env={name: value for name, value in os.environ.items() if not name.startswith("ETCD")},
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def log(self, name: str) -> Path:
        """Return where the output of a process goes."""
        return self.folder / f"{name}.log"

    def tail(self, name: str, lines: int = 10) -> str:
        """Return the last lines that a process wrote."""
        log = self.log(name)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def wait_for(
        self, look: Callable[[], FoundT | None], what: str, needed: subprocess.Popen[bytes] | None = None
    ) -> FoundT:
        """Look until something is there; DemoError after PATIENCE, or when the process it needs has ended."""
        deadline = time.monotonic() + PATIENCE
        while (found := look()) is None:
            if needed is not None and needed.poll() is not None:
                raise DemoError(f"{what}: the process ended with {needed.returncode}")
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not within {PATIENCE:g} s")
            time.sleep(BETWEEN_LOOKS)
        return found

    def close(self) -> None:
        """End all processes, the last one first, and remove the folder; nothing interrupts it."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, signal.SIG_IGN) for number in signals]
        try:
            for process in reversed(self._processes):
                process.terminate()
            for process in reversed(self._processes):
                try:
                    process.wait(POLITE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
