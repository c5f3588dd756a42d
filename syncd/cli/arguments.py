"""What can be said on the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syncd import __version__
from syncd.client import ReadOptions

EXIT_CODES = """\
exit codes: 0 done; 1 failed; 2 usage or configuration; 3 no such key;
4 nothing served yet, or staler than asked; 130 Ctrl-C"""

CHECK_EXIT_CODES = """\
exit codes: 0 all is well, or there are warnings only; 1 findings that stop syncd;
2 usage, or a configuration that cannot be used; 130 Ctrl-C"""

_CHECK = """\
Go the whole way that the daemon goes, and tell at each step what was seen, what
it means, and how to mend it: the configuration and its files, the socket, each
endpoint's name, connection, TLS and gateway, etcd and its members, the user,
and a read and a watch of each range. It takes up to 5 s.

Run it as the user that the daemon runs as, since permissions differ. It needs
no daemon, disturbs none, and changes nothing.

With --json, one object: "ok", "config", "seconds" and "findings", each with
"code", "level" (ok, note, warning, error), "subject", "seen", "means", "cure"."""

_SNAPSHOT = """\
Print all keys and values under PREFIX as they were at one revision: a line about
it, a line for each key, and a line at the end, without which it is not whole.

With --offline, from the copy on disk in DIR, the daemon's cache.directory, for
when there is no daemon, or in spite of it: the state is then "offline", and the
age counts from when the daemon last had it proved. Without PREFIX, each range's
snapshot, one after the other. PREFIX may also be a whole range's name, such as
its one key; of several copies that have it, the newest is read, and the others
are named. Nothing is changed. It must be run as the daemon's user, or as root."""

_ACCEPT = """\
Let through what the guard of RANGE (ranges[].guard in the daemon's
configuration) holds back: the range is read from etcd, and readers get the
difference. It holds for this once; the next disaster is held again.

Only root and the daemon's own user may do that."""

_WATCH = """\
Print every change under PREFIX, from now on or after a revision.

On a terminal and in a pipe, one line an event; in a pipe: revision, put or
delete, key and value, with tabs between them and control characters escaped.
With --json, the daemon's lines as they are, each as soon as it comes: batches,
and progress while nothing happens.

When the daemon restarts, the watch goes on by itself: without a gap, if the
daemon keeps a copy on disk (cache.directory).

If it does not, what changed meanwhile cannot be known, as etcd may have been
wiped or restored: standard error says so, and all keys that there are now are
printed, or with --json a snapshot (head, records, end); then changes as before.
So it is, too, when the daemon no longer has what this reader missed; but then
only the keys put since are printed. Keys deleted in between are not known."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; prints and leaves with SystemExit(2) when it makes no sense."""
    parser = _Parser(prog="syncd", description="etcd's keys, mirrored on this machine.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"syncd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_demo(commands)
    _add_readers(commands)
    arguments = parser.parse_args(argv)
    if arguments.command == "snapshot":
        _must_say_what(parser, arguments)
    if getattr(arguments, "wait", None) is not None and not (
        arguments.linearizable or arguments.min_revision is not None
    ):
        parser.error(
            "--wait says how long to wait for --min-revision or --linearizable; it needs one of them"
        )
    return arguments


def _must_say_what(parser: argparse.ArgumentParser, snapshot: argparse.Namespace) -> None:
    if snapshot.offline is None and snapshot.prefix is None:
        parser.error("snapshot: PREFIX is missing; only --offline goes without")
    if snapshot.offline and (snapshot.socket or snapshot.linearizable or snapshot.min_revision is not None):
        parser.error("snapshot: --offline asks no daemon, so only --max-age goes with it")


def read_of(arguments: argparse.Namespace) -> ReadOptions:
    """Return what an answer must satisfy."""
    return ReadOptions(
        max_age=arguments.max_age,
        min_revision=arguments.min_revision,
        wait=arguments.wait,
        linearizable=arguments.linearizable,
    )


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # Texts are laid out by hand, and an abbreviated option could mean another one tomorrow.
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run the daemon", description="Run the daemon.")
    run.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration")


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="find out why etcd does not let syncd in, and what helps",
        description=_CHECK,
        epilog=CHECK_EXIT_CODES,
    )
    check.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration")
    check.add_argument("--json", action="store_true", help="all findings as one JSON object")


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="show everything, with an etcd to throw away",
        description="Start an etcd to throw away and a daemon, and show what syncd does: reads, changes, "
        "an outage, a crash.\nFails when anything is not as promised.",
    )
    demo.add_argument("--keep", action="store_true", help="leave both running afterwards, until Ctrl-C")


def _add_readers(commands: Any) -> None:
    get = _add_reader(commands, "get", "print the value of a key")
    get.add_argument("key", type=os.fsencode, metavar="KEY")
    get.add_argument("--json", action="store_true", help="the whole record, as one JSON object")
    _add_read(get)

    listing = _add_reader(commands, "list", "print the keys under a prefix, one a line")
    listing.add_argument("prefix", type=os.fsencode, metavar="PREFIX")
    listing.add_argument("--json", action="store_true", help="a JSON object a line, without the values")
    _add_read(listing)

    snapshot = _add_reader(
        commands, "snapshot", "print all keys under a prefix at one revision, as NDJSON", _SNAPSHOT
    )
    snapshot.add_argument("prefix", type=os.fsencode, nargs="?", metavar="PREFIX")
    snapshot.add_argument(
        "--offline",
        type=Path,
        metavar="DIR",
        help="ask no daemon: read its cache.directory; PREFIX is optional",
    )
    _add_read(snapshot)

    watch = _add_reader(commands, "watch", "print the changes under a prefix as they happen", _WATCH)
    watch.add_argument("prefix", type=os.fsencode, metavar="PREFIX")
    watch.add_argument(
        "--from",
        dest="after",
        type=_revision,
        metavar="REV",
        help="begin with the first change after this revision of the daemon's present epoch",
    )
    watch.add_argument("--json", action="store_true", help="the daemon's lines as they are")

    accept = _add_reader(commands, "accept", "let a range shrink that its guard holds as it was", _ACCEPT)
    accept.add_argument("range", metavar="RANGE", help="its name, as `syncd status` shows it")

    status = _add_reader(commands, "status", "show how the daemon and its ranges are doing")
    status.add_argument("--json", action="store_true", help="the daemon's JSON as it is")


def _add_reader(commands: Any, name: str, summary: str, description: str | None = None) -> _Parser:
    reader: _Parser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=EXIT_CODES,
    )
    reader.add_argument(
        "--socket",
        metavar="PATH",
        help="the daemon's socket (otherwise $SYNCD_SOCKET, then /run/syncd/syncd.sock)",
    )
    return reader


def _add_read(reader: _Parser) -> None:
    group = reader.add_argument_group("what the answer must satisfy")
    group.add_argument(
        "--max-age",
        type=_duration,
        metavar="DURATION",
        help="fail rather than print what was last proved current longer ago (500ms, 5s, 10m)",
    )
    group.add_argument(
        "--min-revision", type=_revision, metavar="REV", help="wait until the daemon has seen this revision"
    )
    group.add_argument(
        "--linearizable", action="store_true", help="let the daemon ask etcd for its revision first"
    )
    group.add_argument("--wait", type=_duration, metavar="DURATION", help="how long to wait for that at most")


def _duration(text: str) -> float:
    from syncd.config.units import seconds  # imports the configuration's YAML reader: only when needed

    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _revision(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is not a revision; it is a whole number from 0 on")
    return int(text)
