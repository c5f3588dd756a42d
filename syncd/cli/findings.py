"""How findings are printed: in the order in which they are mended, for people and for programs."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from syncd.cli.terminal import visible
from syncd.config import Config
from syncd.diagnosis.catalogue import CATALOGUE
from syncd.findings import Finding, Level

WIDTH = 100
"""Columns that sentences fill at most. What was seen stays on one line, and so do commands, to be copied."""

WORDS: Mapping[Level, str] = {"ok": "ok     ", "note": "note   ", "warning": "warning", "error": "error  "}
SYMBOLS: Mapping[Level, str] = {"ok": "✓", "note": "·", "warning": "!", "error": "✗"}
STYLES: Mapping[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}

Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its style."""


def in_order(findings: Iterable[Finding], config: Config) -> list[Finding]:
    """First this host with its files, then each endpoint, then each range; what is nearer comes first."""
    findings = list(findings)
    near = {code: index for index, code in enumerate(CATALOGUE)}
    nearest: dict[str, int] = {}
    for finding in findings:
        nearest[finding.subject] = min(near[finding.code], nearest.get(finding.subject, len(near)))
    places = {subject: index for index, subject in enumerate(_places(config))}

    def place(finding: Finding) -> tuple[int, int, str, int]:
        subject = finding.subject
        return places.get(subject, -1), nearest[subject], subject, near[finding.code]

    return sorted(findings, key=place)


def _places(config: Config) -> Iterator[str]:
    """The endpoints, and the ranges as each endpoint serves them."""
    yield from config.etcd.endpoints
    for keys in config.ranges:
        name = keys.name or "(all keys)"
        yield name
        yield from (f"{url} {name}" for url in config.etcd.endpoints)


def lines(findings: Iterable[Finding], marks: Mapping[Level, str], width: int = WIDTH) -> Iterator[Line]:
    """Lay out findings: a paragraph for each subject, safe on any terminal."""
    indent = " " * (len(marks["ok"]) + 5)
    for subject, group in groupby(findings, attrgetter("subject")):
        yield ((visible(subject), "bold"),)
        for one in group:
            style = STYLES[one.level]
            yield (
                (f"  {marks[one.level]}  ", style),
                (f"{one.code:<14}", style),
                (f"  {visible(one.seen)}", ""),
            )
            yield from _sentences(one.means, indent, width)
            for line in one.cure.split("\n"):
                if line.startswith(" "):
                    yield ((f"{indent}    {visible(line.strip())}", "bold"),)
                else:
                    yield from _sentences(line, f"{indent}> ", width)
        yield ()


def _sentences(text: str, indent: str, width: int) -> Iterator[Line]:
    """A text in as many lines as it needs; words, such as --client-cert-auth, stay whole."""
    for line in textwrap.wrap(
        visible(text),
        min(width, WIDTH),
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield ((line, ""),)


def summary(findings: Sequence[Finding]) -> tuple[str, str]:
    """All in one line, and its style."""
    count = Counter(finding.level for finding in findings)
    told = ", ".join(
        f"{count[level]} {level}{'' if count[level] == 1 else 's'}"
        for level in ("error", "warning")
        if count[level]
    )
    if count["error"]:
        return f"{told}: syncd cannot work as configured", STYLES["error"]
    if count["warning"]:
        return f"{told}: syncd works; mind what is said above", STYLES["warning"]
    return "all is well", STYLES["ok"]
