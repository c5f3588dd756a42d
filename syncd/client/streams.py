"""Answers that come as lines, each on a connection of its own: what a snapshot and a watch have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

import msgspec

from syncd.client import answers
from syncd.client.answers import Freshness
from syncd.client.connection import Connection, Waiting
from syncd.client.errors import ClientError, CutError
from syncd.client.lines import LineReader, SnapshotLines, SnapshotMessage
from syncd.client.packed import Block, Splitter
from syncd.client.query import Request
from syncd.records import Record

MessageT = TypeVar("MessageT")
KindT = TypeVar("KindT")


class Way(msgspec.Struct, frozen=True):
    """How to get to the daemon, and how long to wait there for a byte."""

    path: str
    timeout: float
    waiting: Waiting

    async def connect(self) -> Connection:
        """Connect."""
        return await Connection.open(self.path, self.timeout, self.waiting)

    async def begin(self, request: Request) -> tuple[Connection, Freshness]:
        """Send a request on a connection of its own, and read what its answer begins with."""
        connection = await self.connect()
        try:
            head = await connection.request(request, self.timeout)
            if head.status == 200:
                return connection, answers.freshness(head)
            refusal = answers.refusal(head, await connection.rest())
        except BaseException:
            connection.close()
            raise
        connection.close()
        raise refusal


class Lines(Generic[MessageT]):
    """The lines of one answer, and the messages in them. `blocks`: take many records for one message."""

    line = b""
    """The line of the last message as it was sent, without its newline; what came in a block has none."""

    def __init__(self, connection: Connection, reader: LineReader[MessageT], *, blocks: bool = False) -> None:
        self.pending: deque[bytes | Block | Record] = deque()
        """What has come, and nobody has taken yet; records are those of a block that was begun."""
        self._connection = connection
        self._reader = reader
        self._blocks = blocks
        self._splitter = Splitter()

    def take(self) -> MessageT:
        """Return the next message of those that are pending; AnswerError when it is the daemon's farewell.

        Whatever is raised in here or afterwards, before the message reached the reader: `close` it.
        """
        item = self.pending.popleft()
        if isinstance(item, Record):
            return cast("MessageT", item)
        message = self._reader.receive(item)
        if isinstance(item, bytes):
            self.line = item
            return message
        self.line = b""
        if self._blocks:
            return message
        self.pending.extendleft(reversed([*item.records()]))
        return cast("MessageT", self.pending.popleft())

    async def fill(self) -> bool:
        """Wait for more lines; False when the answer was complete without, ClientError when it was not."""
        while not self.pending:
            await self._connection.arrival()
            try:
                data = self._connection.arrived()
                if data is None:
                    continue
                self.pending.extend(self._splitter.feed(data) if data else self._splitter.finish())
            except BaseException:
                self._connection.close()  # what was taken from it may be lost; what is pending is not
                raise
            if not data and not self.pending:
                self._reader.finish()
                return False
        return True

    def close(self) -> None:
        """Leave, also what nobody has taken yet; the daemon notices."""
        self._connection.close()
        self.pending.clear()


class AsyncStream(ABC, Generic[MessageT]):
    """Messages that come: `async with` connects, `receive()` gives one after the other.

    A `receive()` that is cancelled has taken nothing: the next one goes on. It is for one task at a time, and
    whoever wants to end it from another one cancels that task.

    No message gets lost unnoticed when something else is raised in the middle, as by a signal's handler: at
    worst the connection is given up, and what follows from that is told. The last instant is the reader's
    own, between the return of `receive()` and whatever keeps its result: there, the message counts as told.
    """

    line = b""
    """The last message as the daemon sent it, without its newline."""
    _freshness: Freshness | None = None

    @property
    def freshness(self) -> Freshness:
        """What the headers of the answer said; there are none before it has begun."""
        if self._freshness is None:
            raise RuntimeError("nothing has begun yet: use this inside a `with`")
        return self._freshness

    @property
    @abstractmethod
    def pending(self) -> bool:
        """Whether `take()` has a message without waiting."""

    @abstractmethod
    def take(self) -> MessageT:
        """Return a message that is there."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, if that has not been done."""

    @abstractmethod
    async def receive(self) -> MessageT | None:
        """Wait for the next message; None after the last one, or when this was closed."""

    @abstractmethod
    def close(self) -> None:
        """Leave; the daemon notices. Any number of times."""

    def messages(self) -> AsyncIterator[MessageT]:
        """Iterate over all messages that are still to come."""
        return Messages(self.receive)

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Messages(AsyncIterator[MessageT]):
    """Iterates over what is received; an iteration that was left or cancelled can be taken up again.

    Not a generator: that would be over as soon as one wait in it is cancelled.
    """

    def __init__(self, receive: Callable[[], Awaitable[MessageT | None]]) -> None:
        self._receive = receive

    async def __anext__(self) -> MessageT:
        message = await self._receive()
        if message is None:
            raise StopAsyncIteration
        return message


class Selected(AsyncIterator[KindT]):
    """Iterates over those messages that are of some kinds."""

    def __init__(self, messages: AsyncIterator[object], kinds: tuple[type[KindT], ...]) -> None:
        self._messages = messages
        self._kinds = kinds

    async def __anext__(self) -> KindT:
        while True:
            message = await anext(self._messages)
            if isinstance(message, self._kinds):
                return message


class AsyncSnapshot(AsyncStream[SnapshotMessage]):
    """All keys under a prefix at one revision; iterating gives the records.

    An iteration that ends by itself was complete: a transfer that is cut raises CutError, and so does all
    that is asked of a snapshot that was closed before its end.
    """

    def __init__(self, way: Way, request: Request) -> None:
        self._way = way
        self._request = request
        self._lines: Lines[SnapshotMessage] | None = None
        self._closed = False
        self._complete = False
        """All of it was taken."""

    @property
    def pending(self) -> bool:
        """Whether `take()` has a message without waiting."""
        return self._lines is not None and bool(self._lines.pending)

    def take(self) -> SnapshotMessage:
        """Return a message that is there."""
        if self._closed:
            raise _closed()
        lines = self._begun()
        try:
            message = lines.take()
            self.line = lines.line
        except BaseException:
            self.close()
            raise
        return message

    async def open(self) -> None:
        """Ask, and read what the answer begins with; a refusal is an AnswerError."""
        if self._closed:
            raise _closed()
        if self._lines is None:
            connection, self._freshness = await self._way.begin(self._request)
            self._lines = Lines(connection, SnapshotLines())

    async def receive(self) -> SnapshotMessage | None:
        """Wait for the next message; None after the last one, CutError when that is not the end."""
        if self._complete:
            return None
        await self.open()
        try:
            if await self._begun().fill():
                return self.take()
        except ClientError:
            self.close()
            raise
        self._complete = True
        self.close()
        return None

    def close(self) -> None:
        """Leave; the daemon notices. Any number of times."""
        self._closed = True
        if self._lines is not None:
            self._lines.close()

    def __aiter__(self) -> AsyncIterator[Record]:
        return Selected(self.messages(), (Record,))

    def _begun(self) -> Lines[SnapshotMessage]:
        if self._lines is None:
            raise RuntimeError("nothing has begun yet: use this inside a `with`")
        return self._lines


def _closed() -> CutError:
    return CutError("the snapshot was closed, and what was read so far may not be all: ask for another one")
