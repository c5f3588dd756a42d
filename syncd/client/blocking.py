"""The blocking front: `Client`, and the snapshots and watches that it gives."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

from syncd.client import status
from syncd.client.answers import Freshness, Value
from syncd.client.http11 import Head
from syncd.client.lines import Bookmark, SnapshotMessage
from syncd.client.polling import Polling, StoppablePolling, Stopped
from syncd.client.query import DEFAULT_HEARTBEAT, ReadOptions, Request
from syncd.client.reader import DEFAULT_TIMEOUT, Keys, Reader
from syncd.client.streams import AsyncSnapshot, AsyncStream
from syncd.client.watching import CHANGES, AsyncWatch, Change, Told
from syncd.records import Record

MessageT = TypeVar("MessageT")
ResultT = TypeVar("ResultT")


class Client:
    """Reads from the daemon behind a Unix socket; blocking.

    `socket_path` defaults to `$SYNCD_SOCKET`, then /run/syncd/syncd.sock. Every method raises `ClientError`s
    only (see errors.py), and takes:

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

    def __init__(self, socket_path: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> None:
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
        snapshot = self._reader.snapshot(
            prefix, key=key, keys_only=keys_only, as_json=as_json, timeout=timeout, **read
        )
        return Snapshot(snapshot)

    def watch(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        after: Bookmark | int | None = None,
        with_snapshot: bool = False,
        prev_kv: bool = False,
        heartbeat: float = DEFAULT_HEARTBEAT,
        resume: bool = True,
        patience: float = 0.0,
        as_json: bool = False,
        blocks: bool = False,
        timeout: float | None = None,
        **read: Unpack[ReadOptions],
    ) -> Watch:
        """Watch the changes under a prefix: iterate over them, inside a `with`, which connects.

        It begins now, or after a bookmark or revision, and goes on through restarts of the daemon: each
        `Batch` comes once, and none is missing. What etcd itself has lost comes as a batch with `resync`.

        - `after`: where to begin; of a bare revision nobody knows the epoch.
        - `with_snapshot`: begin with all that there is (SnapshotHead, a Record each, SnapshotEnd), unless
          `after` says where to begin. When the daemon no longer has what comes next, another snapshot
          replaces all that was told before; without this, that is a CompactedError.
        - `prev_kv`: tell also what a key held before.
        - `heartbeat`: seconds between `Progress` messages; three without any are an interruption.
        - `resume`: False for one connection only, whose end is raised (as ClosingError, CutError, …).
        - `patience`: seconds to go on trying while the first connection fails; `math.inf` for ever. Once it
          began, it is never given up, but for what would fail again: ForbiddenError, NotMirroredError, …
        - `as_json`: let each record of a snapshot be a line of JSON, to be had as `line`.
        - `blocks`: let `messages()` give a snapshot's records many at once, each time as a `Block`.
        - `max_age`, `min_revision`, `wait`, `linearizable`: what it must satisfy to begin, not to resume.
        """
        waiting = StoppablePolling()
        watch = Reader(self.socket_path, self._reader.timeout, waiting).watch(
            prefix,
            key=key,
            after=after,
            with_snapshot=with_snapshot,
            prev_kv=prev_kv,
            heartbeat=heartbeat,
            resume=resume,
            patience=patience,
            as_json=as_json,
            blocks=blocks,
            timeout=timeout,
            **read,
        )
        return Watch(watch, waiting)

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

    def __init__(self, stream: AsyncStream[MessageT]) -> None:
        self._stream = stream

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
        _run(self._stream.__aenter__())

    def receive(self) -> MessageT | None:
        """Wait for the next message; None after the last one, or when this was closed."""
        stream = self._stream
        return stream.take() if stream.pending else _run(stream.receive())

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

    An iteration that ends by itself was complete: a transfer that is cut raises CutError.
    """

    def __init__(self, stream: AsyncSnapshot) -> None:
        super().__init__(stream)

    def __iter__(self) -> Iterator[Record]:
        return (message for message in self.messages() if isinstance(message, Record))


class Watch(Stream[Told]):
    """Changes without end; iterating gives each `Batch` once, and a snapshot's messages if asked for.

    `messages()` and `receive()` give everything: also `Progress`, `Connected` and `Interrupted`.
    """

    def __init__(self, watch: AsyncWatch, waiting: StoppablePolling) -> None:
        super().__init__(watch)
        self._watch = watch
        self._waiting = waiting

    def __iter__(self) -> Iterator[Change]:
        return (message for message in self.messages() if isinstance(message, CHANGES))

    @property
    def bookmark(self) -> Bookmark | None:
        """Up to where all changes were told; None before the beginning, and until a snapshot is complete."""
        return self._watch.bookmark

    def receive(self) -> Told | None:
        """Wait for the next message; None when the watch was closed or stopped."""
        try:
            if not self._waiting.stopped:
                return super().receive()
        except Stopped:
            pass
        self.close()
        return None

    def open(self) -> None:
        """Connect, however long patience lasts; the error that the last attempt met."""
        if not self._waiting.stopped:
            with suppress(Stopped):  # then there is nothing to iterate over
                super().open()

    def stop(self) -> None:
        """End the watch, from another thread or a signal handler: a wait in it ends, and so do iterations."""
        self._waiting.stop()


def _run(operation: Coroutine[object, None, ResultT]) -> ResultT:
    """Run a coroutine of the core: its `Waiting` blocks, so it never suspends, and one step is all of it."""
    try:
        operation.send(None)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    raise AssertionError("the client's core waited for something else than its Waiting")
