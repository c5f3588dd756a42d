"""A `syncd watch` that runs while a test makes things happen."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command import SECONDS, start


class Watching:
    """A `syncd watch` that runs, until it is interrupted."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdout = process.stdout
        self.stderr = process.stderr

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[bytes, bytes]:
        """Interrupt it; what it printed and said that was not read yet."""
        self._process.send_signal(signal.SIGINT)
        rest = self._process.communicate(timeout=SECONDS)
        assert self._process.returncode == 130
        return rest


@contextmanager
def watching(path: Path, *arguments: str) -> Iterator[Watching]:
    """Run `syncd watch /` in a pipe; killed when the test fails."""
    process = start("watch", "/", *arguments, socket=path)
    try:
        yield Watching(process)
    finally:
        process.kill()
        process.communicate()
