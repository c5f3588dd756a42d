"""`syncd watch PREFIX`: changes as they happen, across restarts of the daemon."""

from __future__ import annotations

import math

from syncd.cli.printers import JsonPrinter, PlainPrinter, Printer, TerminalPrinter
from syncd.cli.terminal import Output, say
from syncd.client import Bookmark, Client, CompactedError, Connected, Interrupted, Watch


def watch(client: Client, output: Output, prefix: bytes, *, after: int | None, as_json: bool) -> None:
    """Print changes until interrupted; ClientError when connecting fails at first, or for good."""
    printer = _printer(output, as_json=as_json)
    with client.watch(prefix, after=after) as stream:
        try:
            _follow(stream, printer)
        except CompactedError:  # once it had begun; what was missed has to be made up for
            seen = stream.bookmark
    with client.watch(prefix, with_snapshot=True, as_json=True, patience=math.inf) as stream:
        _follow(stream, printer, seen)


def _follow(stream: Watch, printer: Printer, seen: Bookmark | None = None) -> None:
    """Print a watch, after what was `seen` of another one; ClientError when it ends."""
    interrupted = False
    for message in stream.messages():
        match message:
            case Interrupted():
                if not message.failures:
                    say(f"the watch ended: {message.error}; connecting again")
                interrupted = True
            case Connected():
                printer.state(message.freshness.state)
                if message.after is None:
                    printer.gap(seen or Bookmark(0), message.freshness.epoch)
                elif interrupted:
                    say(f"watching again after revision {message.after.revision}")
            case _:
                printer.show((stream.line, message))
        seen = stream.bookmark or seen


def _printer(output: Output, *, as_json: bool) -> Printer:
    if as_json:
        return JsonPrinter(output)
    return TerminalPrinter() if output.terminal else PlainPrinter(output)
