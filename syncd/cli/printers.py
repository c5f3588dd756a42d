"""How `syncd watch` prints what it sees: for people, for line-minded programs, or as the daemon's JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from syncd.cli.terminal import Output, say, visible
from syncd.client import Bookmark, Progress, SnapshotEnd, WatchMessage
from syncd.records import Batch, Event, Record

Received = tuple[bytes, WatchMessage]
"""A line and the message in it."""

_STATES = {
    "stale": ": etcd has not confirmed it of late; `syncd status` tells why",
    "warm": ": the daemon has only what its cache held, changes come when it has reached etcd",
    "cold": ": the daemon has nothing yet",
}


class Printer(ABC):
    """Prints messages, and announces on standard error what one must know about them.

    That is: a resync, a gap, and a change of the range's state.
    """

    put_since: str
    """What is printed in place of lost changes, when it can be known what was put since."""
    all_held: str
    """The same, when it cannot."""

    def __init__(self) -> None:
        self._state = "live"
        self._after: int | None = None
        """After a gap: records put after this revision stand for the lost changes. None: there is no gap."""

    @abstractmethod
    def show(self, received: Received) -> None:
        """Print one message."""

    def state(self, state: str) -> None:
        """Announce the range's state, when it is another one now."""
        if state and state != self._state:
            self._state = state
            say(f"the range is {state} now{_STATES.get(state, '')}")

    def gap(self, seen: Bookmark, epoch: str) -> None:
        """Announce that the changes after `seen` are lost, and that a snapshot of `epoch` comes instead."""
        if epoch == seen.epoch:
            self._after = seen.revision
            why = f"the daemon no longer has the changes after revision {seen.revision}"
            instead = self.put_since
        else:
            self._after = 0  # the revision seen means nothing here: any key may have been put since
            why = (
                f"what changed after revision {seen.revision} cannot be known: revisions are of another "
                "epoch, as the daemon began without a copy, or etcd was wiped, restored or replaced"
            )
            instead = self.all_held
        say(f"{why}; {instead}, then changes as they happen")

    def announce(self, message: WatchMessage) -> None:
        """Say what a message means for those that were printed before."""
        match message:
            case Batch() if message.resync:
                say(
                    f"resync: changes up to revision {message.revision} are lost one by one; "
                    f"the differences follow ({len(message.events)})"
                )
            case Progress():
                self.state(message.state)


class JsonPrinter(Printer):
    """The daemon's lines as they are."""

    put_since = all_held = "a snapshot follows in the stream"

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def show(self, received: Received) -> None:
        """Print the line at once."""
        line, message = received
        self.announce(message)
        self._output.json(line)
        self._output.flush()


class EventPrinter(Printer):
    """One line an event; after a gap, the records put in between, or all."""

    put_since = "the keys put since then follow (deletions are not known)"
    all_held = "all keys that there are now follow (deletions are not known)"

    def show(self, received: Received) -> None:
        """Print the events of a message."""
        _, message = received
        self.announce(message)
        match message:
            case Batch():
                for event in message.events:
                    self.event(event)
                self.flush()
            case Record() if self._after is not None and message.mod_revision > self._after:
                self.event(Event(message))
            case SnapshotEnd():
                self._after = None
                self.flush()

    @abstractmethod
    def event(self, event: Event) -> None:
        """Print one event."""

    @abstractmethod
    def flush(self) -> None:
        """Let it go out now."""


class PlainPrinter(EventPrinter):
    """Revision, kind, key and value, with tabs between them."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def event(self, event: Event) -> None:
        """Print one event."""
        kind = b"delete" if event.deleted else b"put"
        value = () if event.deleted else (event.kv.value,)
        self._output.fields(b"%d" % event.kv.mod_revision, kind, event.kv.key, *value)

    def flush(self) -> None:
        """Let it go out now."""
        self._output.flush()


class TerminalPrinter(EventPrinter):
    """Time, revision, kind, key, and as much of the value as the line holds, in colours."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.text import Text

        self._console = Console(highlight=False)
        self._text = Text

    def event(self, event: Event) -> None:
        """Print one event."""
        width = self._console.width
        kind, colour = ("delete", "red") if event.deleted else ("put", "green")
        line = self._text.assemble(
            (f"{datetime.now().astimezone():%H:%M:%S} ", "dim"),
            (f"{event.kv.mod_revision:>8} ", "cyan"),
            (f"{kind:<7}", colour),
            (visible(event.kv.key), "bold"),
            # No more of it than can be seen: a value may have megabytes.
            f" {visible(event.kv.value[: 4 * width])}",
        )
        line.truncate(width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)

    def flush(self) -> None:
        """Do nothing: a console keeps nothing back."""
