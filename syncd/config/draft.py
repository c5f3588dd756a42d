"""What could be read of a file so far: the good values, where they stand, and the mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from syncd.config.errors import Mistake
from syncd.config.files import Unusable


class Draft:
    """Values by path (`etcd.tls.ca_file`, `ranges[1]`, `` for the whole), defaults included.

    A path without a value is mistaken, or something in it is. `lines` has what the file itself holds.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self.mistakes: list[Mistake] = []

    def wrong(self, path: str, message: str, line: int | None = None) -> None:
        """Note a mistake, on the given line or else where `path`, or what holds it, stands."""
        self.mistakes.append(Mistake(path, line or self._line(path), message))

    def unusable(self, path: str, error: Unusable) -> None:
        """Note that the file named at `path` cannot be used."""
        self.mistakes.append(Mistake(path, self._line(path), str(error), error.code, error.cure))

    def items(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield the good items of the list at `path`, each with its own path."""
        own = re.compile(re.escape(path) + r"\[\d+\]")
        return ((at, value) for at, value in self.values.items() if own.fullmatch(at))

    def place(self, path: str) -> str:
        """Return the path as another mistake may name it, with its line."""
        line = self._line(path)
        return path if line is None else f"{path} (line {line})"

    def _line(self, path: str) -> int | None:
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)
