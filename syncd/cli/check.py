"""`syncd check`: the whole way to etcd, step by step, with what is wrong and how to mend it.

It needs no daemon, and does not disturb one: one that serves is asked for its status, as it alone knows
what its guards hold back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from syncd.cli import exits
from syncd.cli.figures import duration, number
from syncd.cli.findings import SYMBOLS, WORDS, lines, summary
from syncd.cli.order import in_order
from syncd.cli.terminal import Output, visible
from syncd.client import Client, ClientError
from syncd.config import Config, ConfigError, Mistake, load
from syncd.config.files import in_shell, user_name
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.check import check
from syncd.findings import Finding

PATIENCE = 1.0
"""Seconds for a daemon to tell its status."""


@dataclass(frozen=True)
class Report:
    """What was found, in order; `usable` is whether the configuration could be read at all."""

    file: Path
    findings: list[Finding]
    seconds: float
    usable: bool = True

    @property
    def exit_code(self) -> int:
        """Tell what the command is to end with."""
        if not self.usable:
            return exits.USAGE
        return exits.FAILED if any(one.level == "error" for one in self.findings) else exits.DONE


def look(file: Path) -> Report:
    """Check all that the configuration `file` names; a spinner shows that something is going on."""
    began = time.monotonic()
    # What the gateway logs is among the findings, said better; and standard output is theirs.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        config = load(file)
    except ConfigError as error:
        mistakes = [_mistake(file, mistake) for mistake in error.mistakes]
        return Report(file, mistakes, time.monotonic() - began, usable=False)
    with _spinner() as progress:
        findings = [_read(file, config), *asyncio.run(check(config, progress)), *_held(config)]
    return Report(file, in_order(findings, config), time.monotonic() - began)


def show(report: Report, output: Output, *, as_json: bool) -> None:
    """Print the report: for programs, in colours, or as plain lines."""
    if as_json:
        output.json(_json(report))
        return
    last, style = summary(report.findings)
    if not output.terminal:
        for line in lines(report.findings, WORDS):
            output.key("".join(text for text, _ in line).encode())
        output.key(last.encode())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    marks = WORDS if console.options.ascii_only else SYMBOLS
    for line in lines(report.findings, marks, console.width):
        console.print(Text.assemble(*line), soft_wrap=True)
    console.print(Text(last, style))


def _read(file: Path, config: Config) -> Finding:
    endpoints, ranges = len(config.etcd.endpoints), len(config.ranges)
    seen = (
        f"{endpoints} endpoint{'' if endpoints == 1 else 's'}, {ranges} range{'' if ranges == 1 else 's'}; "
        f"read as user {user_name()}: another one's permissions may differ"
    )
    return found("config.ok", str(file), seen)


def _held(config: Config) -> Iterator[Finding]:
    """What a daemon holds back that serves on the configured socket."""
    try:
        with Client(str(config.serve.socket), timeout=PATIENCE) as client:
            ranges = client.status().ranges
    except ClientError:
        return  # what is wrong with the socket was looked at; and this user may not be allowed to ask
    for one in ranges:
        if one.held is not None:
            since, before, left = duration(one.held.seconds), number(one.held.keys), number(one.held.would_be)
            yield found(
                "range.held",
                one.range or "(all keys)",
                f"for {since}, since of {before} keys only {left} would be left",
                "see what has happened to etcd; if that is right, let it through:\n"
                f"  syncd accept --socket {in_shell(config.serve.socket)} {shlex.quote(one.range)}",
            )


def _mistake(file: Path, mistake: Mistake) -> Finding:
    place = str(file) if mistake.line is None else f"{file}:{mistake.line}"
    subject = f"{place}: {mistake.path}" if mistake.path else place
    # Its cure is one line, with the command after the colon.
    return found(mistake.code, subject, mistake.message, mistake.cure.replace(": ", ":\n  ", 1))


def _json(report: Report) -> bytes:
    document = {
        "ok": report.exit_code == exits.DONE,
        "config": str(report.file),
        "seconds": round(report.seconds, 3),
        "findings": [msgspec.structs.asdict(finding) for finding in report.findings],
    }
    # A name of a file that is not UTF-8 becomes an escape, which is JSON still.
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")


@contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    """Show on standard error, when a person waits there, what was looked at last."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("checking", spinner="line") as status:
        yield lambda last: status.update(Text(f"checking: {visible(last)}"))
