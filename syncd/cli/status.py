"""`syncd status`: how the daemon and its ranges are doing, at a glance."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from syncd.cli.figures import duration, number, size
from syncd.cli.findings import SYMBOLS, WORDS, Line, lines
from syncd.cli.terminal import Output, visible
from syncd.client import Client, RangeStatus, Status
from syncd.client import query as queries
from syncd.client.status import Cache, Certificate, decode_status

_COLUMNS = ("RANGE", "STATE", "AGE", "REVISION", "KEYS", "SIZE", "ON DISK", "ENDPOINT")
_NUMBERS = {"AGE", "REVISION", "KEYS", "SIZE", "ON DISK"}
_COLOURS = {"live": "green", "warm": "yellow", "stale": "red", "cold": "magenta"}
_EXPIRES_SOON = 30 * 86400
"""Seconds that a certificate has left when a person should see it."""

_Line = tuple[str, str]
"""A line and its colour, empty for none."""


def status(client: Client, output: Output, *, as_json: bool) -> None:
    """Print the daemon's status: a table on a terminal, aligned lines elsewhere, or the daemon's JSON."""
    _, body = client.fetch(queries.status())
    if as_json:
        output.json(body.rstrip(b"\n"))
        return
    found = decode_status(body)
    if output.terminal:
        _print_table(found)
    else:
        for line in plain(found):
            output.key(line.encode())


def plain(found: Status) -> list[str]:
    """Return the status as lines; the columns are aligned and at least two spaces apart."""
    rows = [_COLUMNS, *(_cells(one) for one in found.ranges)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    table = [
        "  ".join(
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    return [
        *_head(found),
        *(line for line, _ in _certificates(found)),
        "",
        *table,
        *(f"{_name(one)}: {note}" for one in found.ranges for note in _notes(one)),
        *("".join(text for text, _ in line) for line in _findings(found, WORDS)),
    ]


def _head(found: Status) -> list[str]:
    readers = "1 reader" if found.readers == 1 else f"{number(found.readers)} readers"
    lines = [
        f"syncd {visible(found.version)}, pid {found.pid}, up {duration(found.uptime_seconds)}, {readers}"
    ]
    for endpoint in found.etcd.endpoints:
        notes = [visible(endpoint.version) if endpoint.version else "version unknown"]
        if endpoint.current:
            notes.append("in use")
        if endpoint.failures:
            notes.append(_attempts(endpoint.failures))
        if endpoint.quarantine:
            left, reason = duration(endpoint.quarantine.seconds), visible(endpoint.quarantine.reason)
            notes.append(f"in quarantine for {left}: {reason}")
        lines.append(f"etcd {', '.join([visible(endpoint.url), *notes])}")
    if not found.etcd.endpoints:
        lines.append("here is what serve.access lets you read whole; etcd is shown to those who may read all")
    return lines


def _certificates(found: Status) -> list[_Line]:
    """All of them, as soon as one expires soon: whoever renews that one will look at the others."""
    known = found.etcd.certificates
    if all(one.expires_in_seconds >= _EXPIRES_SOON for one in known):
        return []
    return [_certificate(one) for one in known]


def _certificate(one: Certificate) -> _Line:
    left = one.expires_in_seconds
    colour = "" if left >= _EXPIRES_SOON else "yellow" if left >= 0 else "red"
    when = f"expires in {duration(left)}" if left >= 0 else f"expired {duration(-left)} ago"
    who = ", ".join(map(visible, (one.subject, one.role, one.source)))
    return f"certificate {who}: {when}, at {visible(one.not_after)}", colour


def _findings(found: Status, marks: Mapping[str, str], width: int | None = None) -> Iterator[Line]:
    """What is not well on the way to etcd; what is only worth knowing is for `syncd check`."""
    told = [one for one in found.etcd.findings if one.level in ("warning", "error")]
    if told:
        yield ()
        yield from lines(told, marks, width)


def _attempts(failed: int) -> str:
    return "1 failed attempt" if failed == 1 else f"{number(failed)} failed attempts in a row"


def _name(one: RangeStatus) -> str:
    return visible(one.range) or "(all keys)"


def _cells(one: RangeStatus) -> tuple[str, ...]:
    return (
        _name(one),
        visible(one.state),
        "never" if one.age_ms is None else duration(one.age_ms / 1000),
        str(one.revision),
        number(one.keys),
        size(one.bytes),
        _on_disk(one.cache),
        visible(one.endpoint) if one.endpoint else "none",
    )


def _on_disk(copy: Cache | None) -> str:
    if copy is None:
        return "off"
    return size(copy.bytes) if copy.revision else "none"


def _notes(one: RangeStatus) -> list[str]:
    notes = []
    if one.syncing is not None:
        of = "" if one.syncing.count is None else f" of {number(one.syncing.count)}"
        why = f" ({visible(one.syncing.reason)})" if one.syncing.reason else ""
        notes.append(f"full read{why}: {number(one.syncing.keys)}{of} keys")
    if one.held is not None:
        notes.append(
            f"held for {duration(one.held.seconds)}: of {number(one.held.keys)} keys only "
            f"{number(one.held.would_be)} would be left; if that is right: "
            f"syncd accept {shlex.quote(visible(one.range))}"
        )
    elif one.error:
        notes.append(f"last error: {visible(one.error)}")
    if one.cache and one.cache.error:
        there = f"revision {one.cache.revision}" if one.cache.revision else "nothing"
        notes.append(f"not kept on disk, where {there} is: {visible(one.cache.error)}")
    return notes


def _print_table(found: Status) -> None:
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for line in _head(found):
        console.print(Text(line), soft_wrap=True)
    for line, colour in _certificates(found):
        console.print(Text(line, colour), soft_wrap=True)
    table = Table(*_COLUMNS, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column, name in zip(table.columns, _COLUMNS, strict=True):
        column.justify = "right" if name in _NUMBERS else "left"
        column.overflow = "fold"
    for one in found.ranges:
        style = {"STATE": _COLOURS.get(one.state, "")}
        table.add_row(
            *(Text(cell, style.get(name, "")) for name, cell in zip(_COLUMNS, _cells(one), strict=True))
        )
    console.print()
    console.print(table)
    for one in found.ranges:
        for note in _notes(one):
            console.print(Text(f"{_name(one)}: {note}", "yellow"), soft_wrap=True)
        if one.syncing is not None and one.syncing.count:
            console.print(ProgressBar(one.syncing.count, one.syncing.keys, width=40))
    for pieces in _findings(found, WORDS if console.options.ascii_only else SYMBOLS, console.width):
        console.print(Text.assemble(*pieces), soft_wrap=True)
