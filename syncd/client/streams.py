"""Answers that come as lines, each on a connection of its own: `Snapshot` and `Watch`."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from syncd.client.answers import Freshness
from syncd.client.connection import Connection
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
    """An answer of lines that is being received; `freshness` is what its headers said."""

    def __init__(self, connection: Connection, fresh: Freshness, reader: LineReader[MessageT]) -> None:
        self.freshness = fresh
        self._connection = connection
        self._reader = reader

    def lines(self) -> Iterator[tuple[bytes, MessageT]]:
        """Read each line as it was sent (without its newline), and the message in it."""
        splitter = LineSplitter()
        try:
            for data in self._connection.body():
                for line in splitter.feed(data):
                    yield line, self._reader.receive(line)
            for line in splitter.finish():
                yield line, self._reader.receive(line)
            self._reader.finish()
        finally:
            self.close()

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
        return (message for _, message in self.lines() if isinstance(message, Record))


class Watch(Stream[WatchMessage]):
    """Changes without end; iterating gives `Batch`, `Progress`, and a snapshot's messages if asked for."""

    def __init__(self, connection: Connection, fresh: Freshness, reader: WatchLines) -> None:
        super().__init__(connection, fresh, reader)
        self._changes = reader

    def __iter__(self) -> Iterator[WatchMessage]:
        return (message for _, message in self.lines())

    @property
    def bookmark(self) -> Bookmark | None:
        """From where to resume; None while there is nothing to resume, because a snapshot is not complete."""
        return self._changes.bookmark
