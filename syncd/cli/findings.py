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
"""Columns that sentences fill at most, since wider ones are hard to read."""

WORDS: Mapping[Level, str] = {"ok": "ok     ", "note": "note   ", "warning": "warning", "error": "error  "}
SYMBOLS: Mapping[Level, str] = {"ok": "✓", "note": "·", "warning": "!", "error": "✗"}
STYLES: Mapping[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}

HERE = ("config.", "file.", "tls.", "socket.", "cache.")
"""Codes of what is on this host, unless an endpoint or a range is their subject."""

COMMON = "etcd.endpoints"
"""The subject of what is to be said of all endpoints; beside it stand versions of etcd, and other members."""

Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its style."""


def in_order(findings: Iterable[Finding], config: Config) -> list[Finding]:
    """First this host with its files, then each endpoint, what they have in common, each range, and versions.

    Of each subject, what is nearer to this host comes first.
    """
    findings = list(findings)
    near = {code: index for index, code in enumerate(CATALOGUE)}
    nearest: dict[str, int] = {}
    for finding in findings:
        nearest[finding.subject] = min(near[finding.code], nearest.get(finding.subject, len(near)))
    endpoints = config.etcd.endpoints
    subjects = [*endpoints, COMMON]
    for name in (keys.name or "(all keys)" for keys in config.ranges):
        subjects += [name, *(f"{url} {name}" for url in endpoints)]
    places = {subject: index for index, subject in enumerate(subjects)}

    def place(finding: Finding) -> tuple[int, int, str, int]:
        subject = finding.subject
        other = -1 if finding.code.startswith(HERE) else places[COMMON]
        if subject.startswith("etcd "):  # a version: its faults are many, and must not bury the rest
            other = len(places)
        return places.get(subject, other), nearest[subject], subject, near[finding.code]

    return sorted(findings, key=place)


def lines(
    findings: Iterable[Finding], marks: Mapping[Level, str], width: int | None = None
) -> Iterator[Line]:
    """Lay out findings, a paragraph for each subject, safe on any terminal.

    `width` is that of the terminal; without one, what was seen stays on one line, whatever its length.
    """
    indent = " " * (len(marks["ok"]) + 6)
    columns = min(width or WIDTH, WIDTH)
    for subject, group in groupby(findings, attrgetter("subject")):
        yield ((visible(subject), "bold"),)
        for one in group:
            style = STYLES[one.level]
            head = f"  {marks[one.level]}  {one.code:<14}"
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


def summary(findings: Sequence[Finding]) -> tuple[str, str]:
    """All in one line, and its style."""
    count = Counter(finding.level for finding in findings)
    told = ", ".join(
        f"{count[level]} {level}{'' if count[level] == 1 else 's'}"
        for level in ("error", "warning")
        if count[level]
    )
    if count["error"]:
        told += f" ({', '.join(dict.fromkeys(each.code for each in findings if each.level == 'error'))})"
    if count["error"]:
        return f"{told}: syncd cannot work like this", STYLES["error"]
    if count["warning"]:
        return f"{told}: syncd works; mind what is said above", STYLES["warning"]
    return "all is well", STYLES["ok"]
