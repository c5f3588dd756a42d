"""A watch that goes on: when its connection ends, it makes another one, and resumes after what it has told.

What an error means for a watch stands in `errors.remedy`; here is only what follows from it.

    remedy        before it was ever connected        afterwards
    ──────────    ────────────────────────────────    ────────────────────────────────
    resume        tried again while patience lasts    tried again for ever
    start over    with_snapshot: by a snapshot        with_snapshot: by a snapshot
    give up       raised                              raised
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec

from syncd.client import query
from syncd.client.answers import Freshness
from syncd.client.backoff import delays, spread
from syncd.client.errors import ClientError, Remedy, asked_to_wait, remedy
from syncd.client.lines import (
    Bookmark,
    SnapshotEnd,
    SnapshotHead,
    WatchLines,
    WatchMessage,
)
from syncd.client.query import (
    ANY,
    DEFAULT_HEARTBEAT,
    LONGEST_HEARTBEAT,
    Read,
    ReadOptions,
    Selection,
    duration,
)
from syncd.client.streams import AsyncStream, Lines, Selected, Way
from syncd.records import Batch, Record

MISSED_HEARTBEATS = 3
"""A watch that stays silent for so many heartbeats is as good as cut."""


class Connected(msgspec.Struct, frozen=True):
    """A connection was made, the first one or another one; what comes next comes over it."""

    freshness: Freshness
    """The range as the daemon has it now; the watch may still have to be told how it came to that."""
    after: Bookmark | None
    """All changes after this one follow; None: a snapshot does."""


class Interrupted(msgspec.Struct, frozen=True):
    """There is no connection; the watch waits a moment and tries again. Nothing is lost by that alone."""

    error: ClientError
    """A CompactedError says that the changes since then are lost: a snapshot follows in their place."""
    failures: int
    """0: the connection that there was has ended; otherwise how many attempts have failed since."""


Change = Batch | SnapshotHead | Record | SnapshotEnd
"""What happened to the keys; the last three only where a snapshot was asked for."""
Told = WatchMessage | Connected | Interrupted
"""All that a watch has to tell."""

CHANGES = (Batch, SnapshotHead, Record, SnapshotEnd)


class WatchOptions(ReadOptions, total=False):
    """What a watch shall do, as keyword arguments; `Client.watch` tells what they mean."""

    after: Bookmark | int | None
    with_snapshot: bool
    prev_kv: bool
    heartbeat: float
    resume: bool
    patience: float
    as_json: bool
    blocks: bool


class Wish(Read, frozen=True):
    """The same, with what holds by default; what is read of it as a `Read` is for the beginning alone."""

    after: Bookmark | int | None = None
    with_snapshot: bool = False
    prev_kv: bool = False
    heartbeat: float = DEFAULT_HEARTBEAT
    resume: bool = True
    patience: float = 0.0
    as_json: bool = False
    blocks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        duration("heartbeat", self.heartbeat)
        duration("patience", self.patience)


class AsyncWatch(AsyncStream[Told]):
    """Changes without end; iterating gives each `Batch` once, and a snapshot's messages if asked for.

    `messages()` and `receive()` give everything: also `Progress`, `Connected` and `Interrupted`.
    """

    def __init__(self, way: Way, keys: Selection, wish: Wish) -> None:
        self._way = way
        self._keys = keys
        self._wish = wish
        self._read: Read = wish
        self._after = Bookmark(wish.after) if isinstance(wish.after, int) else wish.after
        """Up to where all was told, and where the next connection begins; None: with a snapshot, or now."""
        self._reader = WatchLines(None)
        self._lines: Lines[WatchMessage] | None = None
        self._connected: Connected | None = None
        """To be told."""
        self._begun = False
        self._interrupted = False
        """Nothing was heard from the daemon since it was."""
        self._failures = 0
        self._delays = delays()
        self._try_at = 0.0
        """When the next attempt is due: waiting for that can be interrupted, and taken up again."""
        self._give_up_at = time.monotonic() + wish.patience
        self._closed = False

    @property
    def bookmark(self) -> Bookmark | None:
        """Up to where all changes were told; None before the beginning, and until a snapshot is complete."""
        return self._after

    @property
    def pending(self) -> bool:
        """Whether `take()` has a message without waiting."""
        return self._lines is not None and self._connected is None and bool(self._lines.pending)

    def take(self) -> Told:
        """Return a message that is there; it may be the daemon's farewell."""
        lines = self._lines
        if lines is None:
            raise RuntimeError("there is no connection, and no message")
        try:
            message = lines.take()
            self.line = lines.line
            if self._interrupted:  # it works again: the next interruption is another one
                self._interrupted = False
                self._delays = delays()
        except ClientError as error:
            return self._interrupt(error)
        except BaseException:
            lines.close()  # so the next connection begins before this message
            raise
        # Nothing is called between these two, and so no signal's handler either: it is told, or it is not.
        self._after = self._reader.bookmark
        return message

    async def open(self) -> None:
        """Connect, however long patience lasts; the error that the last attempt met."""
        while self._lines is None and not self._closed:
            told = await self._connect()
            self._connected = told if isinstance(told, Connected) else None

    async def receive(self) -> Told | None:
        """Wait for the next message; None when the watch was closed."""
        if self._closed:
            return None
        if self._connected is not None:
            told, self._connected = self._connected, None
            return told
        if self._lines is None:
            return await self._connect()
        try:
            await self._lines.fill()
        except ClientError as error:
            return self._interrupt(error)
        return self.take()

    def close(self) -> None:
        """Leave; the daemon notices. Any number of times."""
        self._closed = True
        self._leave()

    def __aiter__(self) -> AsyncIterator[Change]:
        return Selected(self.messages(), CHANGES)

    async def _connect(self) -> Connected | Interrupted:
        """Make one attempt, after a while if something went wrong before."""
        self.line = b""
        if (left := self._try_at - time.monotonic()) > 0:
            await self._way.waiting.sleep(left)
        try:
            return await self._begin()
        except ClientError as error:
            return self._interrupt(error)

    async def _begin(self) -> Connected:
        wish, after = self._wish, self._after
        with_snapshot = wish.with_snapshot and after is None
        request = query.watch(
            self._keys,
            self._read,
            after=after,
            with_snapshot=with_snapshot,
            prev_kv=wish.prev_kv,
            heartbeat=wish.heartbeat,
            as_json=wish.as_json,
        )
        connection, fresh = await self._way.begin(request)
        connection.expect_every(min(wish.heartbeat, LONGEST_HEARTBEAT) * MISSED_HEARTBEATS)
        if after is None:
            begin = None if with_snapshot else Bookmark(fresh.revision, fresh.epoch)
        else:
            begin = Bookmark(after.revision, after.epoch or fresh.epoch)
        connected = Connected(fresh, begin)
        self._reader = WatchLines(begin)
        self._freshness = fresh
        self._after = begin
        self._begun = True
        self._failures = 0
        self._lines = Lines(connection, self._reader, blocks=wish.blocks)
        return connected

    def _interrupt(self, error: ClientError) -> Interrupted:
        """Decide what to do about `error`: raise it, or tell it and go on."""
        self._failures = 0 if self._lines is not None else self._failures + 1
        self._leave()
        match Remedy.GIVE_UP if self._begun and not self._wish.resume else remedy(error):
            case Remedy.RESUME if self._begun or time.monotonic() < self._give_up_at:
                pass
            case Remedy.START_OVER if self._wish.with_snapshot:
                self._after = None
            case _:
                self.close()
                raise error
        self.line = b""
        self._interrupted = True
        self._try_at = time.monotonic() + max(next(self._delays), spread(asked_to_wait(error)))
        return Interrupted(error, self._failures)

    def _leave(self) -> None:
        """Leave the connection, if there is one."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        if self._after is not None and self._begun:
            self._read = ANY  # what was demanded of the beginning has been had
