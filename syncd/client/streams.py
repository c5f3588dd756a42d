"""Answers that come as lines, each on a connection of its own: `Snapshot` and `Watch`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from syncd.client.answers import Freshness
from syncd.client.connection import Connection
from syncd.client.errors import ClientError
from syncd.client.lines import (
    Bookmark,
    LineReader,
    LineSplitter,
    SnapshotLines,
    SnapshotMessage,
    WatchLines,
    WatchMessage,
)
from syncd.records import Record

MessageT = TypeVar("MessageT")


class Stream(Generic[MessageT]):
    """An answer of lines that is being received; an iteration that was left can be taken up again."""

    def __init__(self, connection: Connection, fresh: Freshness, reader: LineReader[MessageT]) -> None:
        self.freshness = fresh
        """What the answer's headers said."""
        self.line = b""
        """The line of the last message as it was sent, without its newline."""
        self._connection = connection
        self._reader = reader
        self._body = connection.body()
        self._splitter = LineSplitter()
        self._lines: deque[bytes] = deque()
        self._ended = False

    def receive(self) -> MessageT | None:
        """Wait for the next message; None after the last one, ClientError (see errors.py) when it is cut."""
        try:
            while not self._lines and not self._ended:
                data = next(self._body, b"")
                self._ended = not data
                self._lines.extend(self._splitter.feed(data) if data else self._splitter.finish())
            if self._lines:
                self.line = self._lines.popleft()
                return self._reader.receive(self.line)
            self._reader.finish()
        except ClientError:
            self.close()
            raise
        self.close()
        return None

    def messages(self) -> Iterator[MessageT]:
        """Iterate over all messages that are still to come."""
        return iter(self.receive, None)

    def close(self) -> None:
        """Leave; the daemon notices."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Snapshot(Stream[SnapshotMessage]):
    """All keys under a prefix at one revision; iterating gives the records.

    An iteration that ends by itself was complete: a transfer that is cut raises CutError.
    """

    def __init__(self, connection: Connection, fresh: Freshness) -> None:
        super().__init__(connection, fresh, SnapshotLines())

    def __iter__(self) -> Iterator[Record]:
        return (message for message in self.messages() if isinstance(message, Record))


class Watch(Stream[WatchMessage]):
    """Changes without end; iterating gives `Batch`, `Progress`, and a snapshot's messages if asked for."""

    def __init__(self, connection: Connection, fresh: Freshness, reader: WatchLines) -> None:
        super().__init__(connection, fresh, reader)
        self._changes = reader

    def __iter__(self) -> Iterator[WatchMessage]:
        return self.messages()

    @property
    def bookmark(self) -> Bookmark | None:
        """From where to resume; None while there is nothing to resume, because a snapshot is not complete."""
        return self._changes.bookmark
