"""Run `syncd` as people do: as a process, in a pipe or on a terminal."""

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SECONDS = 60.0  # far more than any command takes: a busy machine is no failure

SYNCD = (sys.executable, "-m", "syncd.cli")


def environment(socket: Path | str | None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Make an environment in which $SYNCD_SOCKET is `socket`."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"SYNCD_SOCKET", "NO_COLOR", "COLUMNS"}}
    return inherited | ({} if socket is None else {"SYNCD_SOCKET": str(socket)}) | dict(more or {})


def syncd(*arguments: str | bytes, socket: Path | str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, in a pipe."""
    return subprocess.run(
        [*SYNCD, *arguments], capture_output=True, check=False, timeout=SECONDS, env=environment(socket)
    )


def start(*arguments: str | bytes, socket: Path | str | None = None) -> subprocess.Popen[bytes]:
    """Start a command that goes on, in a pipe."""
    return subprocess.Popen(
        [*SYNCD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(socket)
    )


class Terminal:
    """A terminal of 80 columns; `read()` gives what is on it so far, `finish()` all of it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self.text = ""

    def read(self) -> str:
        """Wait for more to be printed; '' when the last process has left."""
        try:
            text = os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # EIO: nobody has it open any more
            text = ""
        self.text += text
        return text

    def wait_for(self, part: str) -> None:
        """Read until `part` was printed."""
        while part not in self.text:
            assert self.read(), f"{part!r} was never printed: {self.text!r}"

    def leave(self) -> None:
        """Close this process's end, once another one has it."""
        os.close(self.slave)

    def finish(self) -> str:
        """Read to the end."""
        while self.read():
            pass
        os.close(self._master)
        return self.text.replace("\r\n", "\n")


def on_terminal(*arguments: str | bytes, socket: Path | str) -> tuple[int, str]:
    """Run a command to its end on a terminal; its exit code and what was to be seen."""
    terminal = Terminal()
    process = subprocess.Popen(
        [*SYNCD, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal.slave,
        stderr=terminal.slave,
        env=environment(socket, {"TERM": "xterm-256color", "COLUMNS": "80"}),
    )
    terminal.leave()
    text = terminal.finish()
    return process.wait(SECONDS), text
