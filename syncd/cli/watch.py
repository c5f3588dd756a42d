"""`syncd watch PREFIX`: changes as they happen, across restarts of the daemon."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from syncd.cli.printers import JsonPrinter, PlainPrinter, Printer, TerminalPrinter
from syncd.cli.terminal import Output, say
from syncd.client import Bookmark, Client, ClientError, Remedy, Watch, remedy

FIRST_DELAY = 0.1
"""Seconds; a daemon that is restarted is back within about so many."""

LONGEST_DELAY = 2.0
"""Seconds; a failed attempt costs one connect() on this machine."""


def watch(client: Client, output: Output, prefix: bytes, *, after: int | None, as_json: bool) -> None:
    """Print changes until interrupted; ClientError when connecting fails at first, or for good."""
    follower = _Follower(client, prefix, _printer(output, as_json=as_json))
    stream = client.watch(prefix, after=after)
    while True:
        try:
            follower.follow(stream)
        except ClientError as error:
            if remedy(error) is Remedy.GIVE_UP:
                raise
            say(f"the watch ended: {error}; connecting again")
            lost = remedy(error) is Remedy.START_OVER
        stream = follower.connect_again(lost=lost)


def delays() -> Iterator[float]:
    """Yield seconds to wait before attempts: growing, with full jitter, for many may wait for one daemon."""
    longest = FIRST_DELAY
    while True:
        yield random.uniform(0, longest)  # noqa: S311 - it spreads attempts, and hides nothing
        longest = min(longest * 2, LONGEST_DELAY)


class _Follower:
    """Prints one stream after the other, and remembers up to where they came."""

    def __init__(self, client: Client, prefix: bytes, printer: Printer) -> None:
        self._client = client
        self._prefix = prefix
        self._printer = printer
        self._seen = Bookmark(0)
        self._delays = delays()

    def follow(self, stream: Watch) -> None:
        """Print a stream until it ends, which it does with a ClientError only."""
        self._printer.state(stream.freshness.state)
        with stream:
            self._seen = stream.bookmark or self._seen
            for message in stream:
                self._printer.show((stream.line, message))
                self._seen = stream.bookmark or self._seen
                self._delays = delays()  # it works again: the next interruption is another one

    def connect_again(self, *, lost: bool) -> Watch:
        """Resume after what was seen, or begin with a snapshot when the changes since then are lost."""
        while True:
            time.sleep(next(self._delays))
            try:
                if lost:
                    stream = self._client.watch(self._prefix, with_snapshot=True)
                    self._printer.gap(self._seen, stream.freshness.epoch)
                else:
                    stream = self._client.watch(self._prefix, after=self._seen)
                    say(f"watching again after revision {self._seen.revision}")
            except ClientError as error:
                if remedy(error) is Remedy.GIVE_UP:
                    raise
                lost = lost or remedy(error) is Remedy.START_OVER
            else:
                return stream


def _printer(output: Output, *, as_json: bool) -> Printer:
    if as_json:
        return JsonPrinter(output)
    return TerminalPrinter() if output.terminal else PlainPrinter(output)
