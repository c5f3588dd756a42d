"""How findings are laid out for people."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from syncd.cli.terminal import visible

WIDTH = 100
"""Columns that sentences fill at most, since wider ones are hard to read."""

WORDS: Mapping[str, str] = {"ok": "ok     ", "note": "note   ", "warning": "warning", "error": "error  "}
SYMBOLS: Mapping[str, str] = {"ok": "✓", "note": "·", "warning": "!", "error": "✗"}
STYLES: Mapping[str, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}

Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its style."""


class Shown(Protocol):
    """A finding, the check's own or as the daemon's status tells it."""

    @property
    def code(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def seen(self) -> str: ...
    @property
    def means(self) -> str: ...
    @property
    def cure(self) -> str: ...


def lines(findings: Iterable[Shown], marks: Mapping[str, str], width: int | None = None) -> Iterator[Line]:
    """Lay out findings, a paragraph for each subject, safe on any terminal.

    `width` is that of the terminal; without one, what was seen stays on one line, whatever its length.
    """
    indent = " " * (len(marks["ok"]) + 6)
    columns = min(width or WIDTH, WIDTH)
    for subject, group in groupby(findings, attrgetter("subject")):
        yield ((visible(subject), "bold"),)
        for one in group:
            style = STYLES[one.level]
            head = f"  {marks[one.level]}  {visible(one.code):<14}"
            seen = visible(one.seen)
            first, *rest = (
                _wrapped(seen, columns, f"{head}  ", indent) if width and seen else [f"{head}  {seen}"]
            )
            yield (head, style), (first[len(head) :], "")
            for text in (*rest, *_wrapped(visible(one.means), columns, indent, indent)):
                yield ((text, ""),)
            yield from _cure(one.cure, indent, columns)
        yield ()


def _cure(cure: str, indent: str, columns: int) -> Iterator[Line]:
    """What to do, marked where it begins; commands stay whole, on lines of their own, to be copied."""
    mark = "> "
    for line in cure.split("\n"):
        if line.startswith(" "):
            yield ((f"{indent}    {visible(line.strip())}", "bold"),)
        else:
            for text in _wrapped(visible(line), columns, indent + mark, f"{indent}  "):
                yield ((text, ""),)
        mark = "  "


def _wrapped(text: str, columns: int, first: str, rest: str) -> list[str]:
    """Split a text into lines that begin with `first` or `rest`; words (--client-cert-auth) stay whole."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(findings: Sequence[Shown]) -> tuple[str, str]:
    """All in one line, and its style."""
    count = Counter(finding.level for finding in findings)
    parts = [
        f"{count[level]} {level}{'' if count[level] == 1 else 's'}"
        for level in ("error", "warning")
        if count[level]
    ]
    if count["error"]:
        codes = dict.fromkeys(each.code for each in findings if each.level == "error")
        parts[0] += f" ({', '.join(codes)})"
    told = ", ".join(parts)
    if count["error"]:
        return f"{told}: syncd cannot work like this", STYLES["error"]
    if count["warning"]:
        return f"{told}: syncd works; mind what is said above", STYLES["warning"]
    return "all is well", STYLES["ok"]
