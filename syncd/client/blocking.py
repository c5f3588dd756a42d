"""The blocking front: `Client`, and the snapshots and watches that it gives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

from syncd.client import status
from syncd.client.answers import Freshness, Value
from syncd.client.http11 import Head
from syncd.client.lines import Bookmark, SnapshotMessage
from syncd.client.polling import Late, Polling, StoppablePolling, Stopped
from syncd.client.query import ReadOptions, Request, duration
from syncd.client.reader import DEFAULT_TIMEOUT, Keys, Reader, SocketPath
from syncd.client.streams import AsyncSnapshot, AsyncStream
from syncd.client.watching import CHANGES, AsyncWatch, Change, Told, WatchOptions
from syncd.records import Record

MessageT = TypeVar("MessageT")
ResultT = TypeVar("ResultT")
KindT = TypeVar("KindT")


class Client:
    """Reads from the daemon behind a Unix socket; blocking.

    `socket_path` defaults to `$SYNCD_SOCKET`, then /run/syncd/syncd.sock. Every method raises `ClientError`s
    only (see errors.py), but for arguments that mean nothing (TypeError, ValueError), and takes:

    - `timeout`: seconds of silence, not of all that it takes, after which to give up with a SilenceError;
      what the daemon itself is asked to `wait` comes on top. By default the client's own.
    - where many keys are read, which: all under `prefix`, or with `key` that one alone, as where no more of
      them are mirrored; exactly one of the two, or it is a TypeError.
    - where keys are read, what the answer must satisfy: `max_age` (seconds: TooStaleError rather than older),
      `min_revision` (wait until the daemon has it), `wait` (for that, seconds at most), `linearizable` (let
      the daemon ask etcd where it is, and wait until it is there, too).

    Threads may share a client. Whole answers share connections, which are made when they are needed, made
    anew after the daemon restarted, and left to the parent by a forked child. Each snapshot and each watch
    has a connection of its own, and is for one thread at a time.
    """

    def __init__(self, socket_path: SocketPath | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._reader = Reader(socket_path, timeout, Polling())
        self.socket_path = self._reader.socket_path

    def get(self, key: bytes | str, *, timeout: float | None = None, **read: Unpack[ReadOptions]) -> Value:
        """Read one key; NotFoundError when it does not exist."""
        return _run(self._reader.get(key, timeout=timeout, **read))

    def list(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
        **read: Unpack[ReadOptions],
    ) -> Keys:
        """Read which keys there are under a prefix, in order, all at one revision."""
        return _run(self._reader.list(prefix, key=key, timeout=timeout, **read))

    def snapshot(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        keys_only: bool = False,
        as_json: bool = False,
        timeout: float | None = None,
        **read: Unpack[ReadOptions],
    ) -> Snapshot:
        """Read all keys under a prefix at one revision: iterate over the records, inside a `with`.

        - `keys_only`: leave out the values, and all else but the keys.
        - `as_json`: let each record be a line of JSON, to be had as `line`; otherwise many come at once, in a
          form that is read in a quarter of the time.
        """
        waiting = Polling()
        snapshot = Reader(self.socket_path, self._reader.timeout, waiting).snapshot(
            prefix, key=key, keys_only=keys_only, as_json=as_json, timeout=timeout, **read
        )
        return Snapshot(snapshot, waiting)

    def watch(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
        **options: Unpack[WatchOptions],
    ) -> Watch:
        """Watch the changes under a prefix: iterate over them, inside a `with`, which connects.

        It begins now, or after a bookmark or revision, and goes on through restarts of the daemon: each
        `Batch` comes once, and none is missing. What etcd itself has lost comes as a batch with `resync`.

        - `after`: where to begin; of a bare revision nobody knows the epoch.
        - `with_snapshot`: begin with all that there is (SnapshotHead, a Record each, SnapshotEnd), unless
          `after` says where to begin. When the daemon no longer has what comes next, another snapshot
          replaces all that was told before; without this, that is a CompactedError.
        - `prev_kv`: tell also what a key held before.
        - `heartbeat`: seconds (5) between `Progress` messages; three without any are an interruption.
        - `resume`: False for one connection only, whose end is raised (as ClosingError, CutError, …).
        - `patience`: seconds to go on trying while the first connection fails; `math.inf` for ever. Once it
          began, it is never given up, but for what would fail again: ForbiddenError, NotMirroredError, …
        - `as_json`: let each record of a snapshot be a line of JSON, to be had as `line`.
        - `blocks`: let `messages()` give a snapshot's records many at once, each time as a `Block`.
        - `max_age`, `min_revision`, `wait`, `linearizable`: what it must satisfy to begin, not to resume.
        """
        waiting = StoppablePolling()
        reader = Reader(self.socket_path, self._reader.timeout, waiting)
        return Watch(reader.watch(prefix, key=key, timeout=timeout, **options), waiting)

    def status(self, *, timeout: float | None = None) -> status.Status:
        """Ask how the daemon and its ranges are doing."""
        return _run(self._reader.status(timeout=timeout))

    def wait(
        self,
        min_revision: int,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
    ) -> Freshness:
        """Wait until the daemon has a revision of a range, for `timeout` seconds at most.

        Also through restarts of the daemon. TooStaleError when it is not reached in time, or the last error,
        when the daemon could not even be asked.
        """
        return _run(self._reader.wait(min_revision, prefix, key=key, timeout=timeout))

    def accept(self, name: str, *, timeout: float | None = None) -> bool:
        """Let through what the guard of the range called `name` holds back; whether there was anything."""
        return _run(self._reader.accept(name, timeout=timeout))

    def fetch(self, request: Request, *, timeout: float | None = None) -> tuple[Head, bytes]:
        """Return a whole answer as it was sent; AnswerError when it is a refusal."""
        return _run(self._reader.fetch(request, timeout=timeout))

    def close(self) -> None:
        """Close the connections that are idle; the next request makes a new one."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Stream(Generic[MessageT]):
    """Messages that come: `with` connects, `receive()` gives one after the other."""

    def __init__(self, stream: AsyncStream[MessageT], waiting: Polling) -> None:
        self._stream = stream
        self._waiting = waiting

    @property
    def freshness(self) -> Freshness:
        """What the headers of the answer said; there are none before it has begun."""
        return self._stream.freshness

    @property
    def line(self) -> bytes:
        """The last message as the daemon sent it, without its newline."""
        return self._stream.line

    def open(self) -> None:
        """Connect, if that has not been done; what `with` does."""
        self._waiting.deadline = math.inf
        _run(self._stream.__aenter__())

    def receive(self, timeout: float | None = None) -> MessageT | None:
        """Wait for the next message; None after the last one.

        TimeoutError when there is none within `timeout` seconds: nothing is lost by that, the next call goes
        on. An attempt to connect that takes longer begins anew then.
        """
        stream = self._stream
        if stream.pending:
            return stream.take()
        wait = math.inf if timeout is None else duration("timeout", timeout)
        self._waiting.deadline = time.monotonic() + wait
        try:
            return _run(stream.receive())
        except Late:
            raise TimeoutError(f"nothing came within {timeout} s") from None

    def messages(self) -> Iterator[MessageT]:
        """Iterate over all messages that are still to come."""
        return iter(self.receive, None)

    def close(self) -> None:
        """Leave; the daemon notices. Any number of times."""
        self._stream.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Snapshot(Stream[SnapshotMessage]):
    """All keys under a prefix at one revision; iterating gives the records.

    An iteration that ends by itself was complete: a transfer that is cut raises CutError, and so does all
    that is asked of a snapshot that was closed before its end.
    """

    def __init__(self, stream: AsyncSnapshot, waiting: Polling) -> None:
        super().__init__(stream, waiting)

    def __iter__(self) -> Iterator[Record]:
        return Selected(self.receive, (Record,))


class Watch(Stream[Told]):
    """Changes without end; iterating gives each `Batch` once, and a snapshot's messages if asked for.

    `messages()` and `receive()` give everything: also `Progress`, `Connected` and `Interrupted`.
    """

    def __init__(self, watch: AsyncWatch, waiting: StoppablePolling) -> None:
        super().__init__(watch, waiting)
        self._watch = watch
        self._stoppable = waiting

    def __iter__(self) -> Iterator[Change]:
        return Selected(self.receive, CHANGES)

    @property
    def bookmark(self) -> Bookmark | None:
        """Up to where all changes were told; None before the beginning, and until a snapshot is complete."""
        return self._watch.bookmark

    def receive(self, timeout: float | None = None) -> Told | None:
        """Wait for the next message; None when the watch was closed or stopped.

        TimeoutError when there is none within `timeout` seconds: nothing is lost by that, the next call goes
        on. An attempt to connect that takes longer begins anew then.
        """
        try:
            if not self._stoppable.stopped:
                return super().receive(timeout)
        except Stopped:
            pass
        self.close()
        return None

    def open(self) -> None:
        """Connect, however long patience lasts; the error that the last attempt met."""
        if not self._stoppable.stopped:
            with suppress(Stopped):  # then there is nothing to iterate over
                super().open()

    def stop(self) -> None:
        """End the watch, from another thread or a signal handler: a wait in it ends, and so do iterations."""
        self._stoppable.stop()


class Selected(Iterator[KindT]):
    """Iterates over those messages that are of some kinds.

    Not a generator: that would be over as soon as something is raised in it. And the kind is not asked by a
    call, at which a signal's handler could raise, and the message would be lost.
    """

    def __init__(self, receive: Callable[[], object], kinds: tuple[type[KindT], ...]) -> None:
        self._receive = receive
        self._kinds = kinds

    def __next__(self) -> KindT:
        while True:
            message = self._receive()
            if message is None:
                raise StopIteration
            if message.__class__ in self._kinds:
                return message


def _run(operation: Coroutine[object, None, ResultT]) -> ResultT:
    """Run a coroutine of the core: its `Waiting` blocks, so it never suspends, and one step is all of it."""
    try:
        operation.send(None)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    raise AssertionError("the client's core waited for something else than its Waiting")
