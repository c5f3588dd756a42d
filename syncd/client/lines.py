"""Answers of the local API that come as lines: a snapshot, a watch. No I/O.

A body is cut into lines by `packed.Splitter`, however its bytes were split on the way. `SnapshotLines` and
`WatchLines` then turn each line into a typed message, and notice an answer that ends too early.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from syncd.client.answers import WireError
from syncd.client.errors import ClosingError, CutError, ProtocolError, answer_error
from syncd.client.packed import Block
from syncd.records import Batch, Event, Record


class SnapshotHead(msgspec.Struct, frozen=True):
    """A snapshot begins: `count` records follow, all as of `revision`."""

    revision: int
    epoch: str
    count: int
    state: str = ""
    age_ms: float | None = None


class SnapshotEnd(msgspec.Struct, frozen=True):
    """The snapshot is complete."""

    count: int


class Bookmark(msgspec.Struct, frozen=True):
    """All changes up to here are known: where a watch is resumed.

    An empty epoch is not checked, and leaves it to the caller that the revision means the same.
    """

    revision: int
    epoch: str = ""


class Progress(msgspec.Struct, frozen=True):
    """Nothing happened up to `revision`; a watch can be resumed after it."""

    revision: int
    epoch: str
    state: str = ""
    age_ms: float | None = None
    at_ms: float | None = None
    """When that was said, by CLOCK_BOOTTIME."""


SnapshotMessage = SnapshotHead | Record | Block | SnapshotEnd
WatchMessage = SnapshotMessage | Batch | Progress
MessageT_co = TypeVar("MessageT_co", covariant=True)


class LineReader(Protocol[MessageT_co]):
    """Makes messages of lines, and of the blocks between them."""

    def receive(self, line: bytes | Block) -> MessageT_co:
        """Return the message of one line; AnswerError when the line is syncd's farewell."""

    def finish(self) -> None:
        """Take note that the body has ended in good order; CutError when more should have come."""


class _WireRecord(msgspec.Struct):
    key: str | None = None
    key_b64: bytes = b""
    value: str | None = None
    value_b64: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    def record(self) -> Record:
        return Record(
            key=self.key_b64 if self.key is None else self.key.encode(),
            value=self.value_b64 if self.value is None else self.value.encode(),
            create_revision=self.create_revision,
            mod_revision=self.mod_revision,
            version=self.version,
            lease=self.lease,
        )


class _WireEvent(msgspec.Struct):
    type: str
    kv: _WireRecord
    prev_kv: _WireRecord | None = None

    def event(self) -> Event:
        prev = self.prev_kv.record() if self.prev_kv else None
        return Event(self.kv.record(), deleted=self.type == "delete", prev=prev)


class _SnapshotLine(_WireRecord):
    """Any line of a snapshot: a header has a revision, the last line says end, all others are records."""

    revision: int | None = None
    epoch: str = ""
    count: int = 0
    state: str = ""
    age_ms: float | None = None
    end: bool = False
    error: WireError | None = None


class _WatchLine(msgspec.Struct):
    revision: int = 0
    epoch: str | None = None
    events: list[_WireEvent] | None = None
    progress: bool = False
    resync: bool = False
    state: str = ""
    age_ms: float | None = None
    at_ms: float | None = None
    error: WireError | None = None


_snapshot_lines = msgspec.json.Decoder(_SnapshotLine)
_watch_lines = msgspec.json.Decoder(_WatchLine)


class SnapshotLines:
    """A head, as many records as it announced, an end: anything else is an error.

    >> {"revision":7,"epoch":"e","count":1,"state":"live","age_ms":3}
    >> {"key":"/a","value":"x","create_revision":5,"mod_revision":7,"version":2,"lease":0}
    >> {"end":true,"count":1}
    """

    def __init__(self) -> None:
        self.head: SnapshotHead | None = None
        self.received = 0
        """Records so far."""
        self.complete = False

    def receive(self, line: bytes | Block) -> SnapshotMessage:
        """Return the message of the next line; of a block, it is the block."""
        if isinstance(line, Block):
            return self._receive_block(line)
        try:
            wire = _snapshot_lines.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(line, error) from error
        if wire.error is not None:
            raise _farewell(wire.error)
        if self.complete:
            raise ProtocolError("the snapshot goes on after its end")
        if self.head is None:
            if wire.revision is None:
                raise ProtocolError("the snapshot does not begin with its head")
            self.head = SnapshotHead(wire.revision, wire.epoch, wire.count, wire.state, wire.age_ms)
            return self.head
        if not wire.end:
            self.received += 1
            return wire.record()
        if not wire.count == self.received == self.head.count:
            raise CutError(
                f"the snapshot is not whole: {self.received} keys came, {self.head.count} were announced"
            )
        self.complete = True
        return SnapshotEnd(wire.count)

    def finish(self) -> None:
        """Take note that the body has ended."""
        if not self.complete:
            announced = "" if self.head is None else f" of {self.head.count}"
            raise CutError(f"the snapshot broke off after {self.received}{announced} keys")

    def _receive_block(self, block: Block) -> Block:
        if self.head is None or self.complete or not len(block):
            raise ProtocolError("a block of no records, or before the snapshot's head, or after its end")
        self.received += len(block)
        return block


class WatchLines:
    """Batches and progress without end, after a snapshot if one was asked for.

    `bookmark` says from where to resume: all changes up to there have been received. Given None, the watch
    begins with a snapshot, and there is nothing to resume until that is complete.
    """

    def __init__(self, bookmark: Bookmark | None) -> None:
        self.bookmark = bookmark
        self._snapshot = SnapshotLines()

    def receive(self, line: bytes | Block) -> WatchMessage:
        """Return the message of the next line; ClosingError when the daemon says farewell."""
        if self.bookmark is None:
            return self._receive_snapshot(line)
        if isinstance(line, Block):
            raise ProtocolError("a block where changes were expected")
        try:
            wire = _watch_lines.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(line, error) from error
        if wire.error is not None:
            raise _farewell(wire.error)
        if wire.events is None and not wire.progress:
            raise ProtocolError(f"neither events nor progress: {line[:80]!r}")
        epoch = self.bookmark.epoch if wire.epoch is None else wire.epoch
        self.bookmark = Bookmark(wire.revision, epoch)
        if wire.events is None:
            return Progress(wire.revision, epoch, wire.state, wire.age_ms, wire.at_ms)
        return Batch(
            revision=wire.revision,
            events=tuple(event.event() for event in wire.events),
            epoch=epoch,
            resync=wire.resync,
        )

    def finish(self) -> None:
        """Take note that the daemon ended the watch in good order, which is a ClosingError too."""
        raise ClosingError("the daemon stops")

    def _receive_snapshot(self, line: bytes | Block) -> SnapshotMessage:
        message = self._snapshot.receive(line)
        if self._snapshot.complete and (head := self._snapshot.head):
            self.bookmark = Bookmark(head.revision, head.epoch)
        return message


def _malformed(line: bytes, error: Exception) -> ProtocolError:
    return ProtocolError(f"a line that is not the contract's JSON ({error}): {line[:80]!r}")


def _farewell(error: WireError) -> Exception:
    return answer_error(error.code, error.message, oldest_revision=error.oldest_revision)
