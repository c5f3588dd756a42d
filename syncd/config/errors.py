"""What is wrong with a configuration file: every mistake at once, one line each."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from syncd.errors import SyncdError


class Mistake(msgspec.Struct, frozen=True):
    """One thing to mend.

    `path` is the key's place, such as `etcd.timeouts.connect` or `ranges[1].prefix`, empty when the file
    as a whole is meant; `line` counts from 1, None when no line can be named; `message` is one line.
    `code` and `cure` are those of a finding about it; where the message says it all, the cure is empty.
    """

    path: str
    line: int | None
    message: str
    code: str = "config.invalid"
    cure: str = ""


class ConfigError(SyncdError):
    """The configuration cannot be used; its text is one `FILE:LINE: path: message` line for each mistake."""

    def __init__(self, file: Path, mistakes: tuple[Mistake, ...]) -> None:
        self.file = file
        self.mistakes = mistakes
        super().__init__("\n".join(self._line(mistake) for mistake in mistakes))

    def _line(self, mistake: Mistake) -> str:
        place = str(self.file) if mistake.line is None else f"{self.file}:{mistake.line}"
        what = "; ".join(part for part in (mistake.message, mistake.cure) if part)
        return ": ".join(part for part in (place, mistake.path, what) if part)


def quoted(text: str) -> str:
    """`text` as it may stand in a message: in double quotes, on one line, and not endless."""
    short = text if len(text) <= 60 else text[:59] + "…"
    return f'"{short}"' if short.isprintable() else json.dumps(short)


def shown(path: Path) -> str:
    """`path` as it may stand in a message: whole, so that it can be found, and on one line."""
    text = str(path)
    return text if text.isprintable() else json.dumps(text)
