"""How the demo is told: in colours on a terminal, as plain text elsewhere; the words are the same."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable

from syncd.cli.demo.workshop import DemoError
from syncd.cli.terminal import visible

LONGEST = 100
"""Characters of a line of output that are usually shown."""


class Stage:
    """Tells what is done, shows what came of it, and fails when that is not what was promised."""

    def __init__(self) -> None:
        self._checks = 0
        self._steps = 0
        self._begin = time.monotonic()
        self._print = _rich_printer() if sys.stdout.isatty() else _print_plain

    def step(self, title: str) -> None:
        """Begin another step."""
        self._steps += 1
        passed = time.monotonic() - self._begin
        self._print("" if self._steps == 1 else "\n", "", "")
        self._print(f"{self._steps}. {title}", "bold", f"  [{passed:.1f} s]\n")

    def tell(self, text: str) -> None:
        """Explain, in a sentence."""
        self._print(f"   {visible(text)}\n", "", "")

    def command(self, *words: str) -> None:
        """Show a command as it would be typed."""
        self._print(f"   $ {visible(shlex.join(words))}\n", "cyan", "")

    def output(self, text: str, lines: int = 5, width: int = LONGEST) -> None:
        """Show what a command printed, or its first lines."""
        found = text.splitlines() or ["(nothing)"]
        for line in found[:lines]:
            shown = visible(line)
            self._print(f"     {shown if len(shown) <= width else shown[: width - 1] + '…'}\n", "dim", "")
        if len(found) > lines:
            self._print(f"     … {len(found) - lines} more lines\n", "dim", "")

    def check(self, holds: bool, promise: str) -> None:
        """Show that something is as promised; DemoError when it isn't."""
        if not holds:
            raise DemoError(f"not as promised: {promise}")
        self._checks += 1
        self._print("   ✓ ", "green", f"{visible(promise)}\n")

    def fail(self, text: str) -> None:
        """Show what went wrong, in as many lines as it takes."""
        self._print("   ✗ ", "bold red", "\n     ".join(visible(line) for line in text.splitlines()) + "\n")

    def end(self) -> None:
        """Sum up."""
        passed = time.monotonic() - self._begin
        self._print("\n", "", "")
        self._print(f"That's it: {self._checks} promises, checked in {passed:.1f} s.\n", "bold", "")


def _print_plain(text: str, _style: str, more: str = "") -> None:
    sys.stdout.buffer.write(f"{text}{more}".encode())
    sys.stdout.buffer.flush()


def _rich_printer() -> Callable[[str, str, str], None]:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def show(text: str, style: str, more: str = "") -> None:
        console.print(Text.assemble((text, style), more), end="", soft_wrap=True)

    return show
