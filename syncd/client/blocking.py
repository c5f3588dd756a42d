"""The blocking client: asks for what a reader wants and hands out values, snapshots and watches."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from syncd.client import answers, query, status
from syncd.client.answers import Freshness, Value
from syncd.client.connection import Connection
from syncd.client.errors import CutError
from syncd.client.http11 import Head
from syncd.client.lines import Bookmark, WatchLines
from syncd.client.query import ANY, DEFAULT_HEARTBEAT, Read, Request
from syncd.client.streams import Snapshot, Watch

DEFAULT_SOCKET = "/run/syncd/syncd.sock"

DEFAULT_TIMEOUT = 30.0
"""Seconds: a linearizable read may take as long as etcd's own time-out of some ten seconds."""

MISSED_HEARTBEATS = 3
"""A watch that stays silent for so many heartbeats is as good as cut."""


class Client:
    """Reads from the daemon behind a Unix socket; blocking, and not to be shared between threads.

    `socket_path` defaults to `$SYNCD_SOCKET`, then /run/syncd/syncd.sock. Whole answers share one
    connection, which is made when first needed, made anew after the daemon restarted, and left behind by a
    forked child. Each snapshot and each watch has a connection of its own. Every method raises
    `ClientError`s only (see errors.py).
    """

    def __init__(self, socket_path: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.socket_path = socket_path or os.environ.get("SYNCD_SOCKET") or DEFAULT_SOCKET
        self.timeout = timeout
        self._connection: Connection | None = None
        self._pid = os.getpid()

    def get(self, key: bytes | str, read: Read = ANY) -> Value:
        """Read one key; NotFoundError when it does not exist."""
        name = _encoded(key)
        return answers.value(name, *self.fetch(query.value(name, read)))

    def snapshot(self, prefix: bytes | str, read: Read = ANY, *, keys_only: bool = False) -> Snapshot:
        """Read all keys under a prefix at one revision: iterate over the records, inside a `with`."""
        return self.open_snapshot(query.snapshot(_encoded(prefix), read, keys_only=keys_only))

    def watch(
        self,
        prefix: bytes | str,
        *,
        after: Bookmark | int | None = None,
        with_snapshot: bool = False,
        prev_kv: bool = False,
        heartbeat: float = DEFAULT_HEARTBEAT,
    ) -> Watch:
        """Watch the changes under a prefix from now on, or after a bookmark or revision.

        Use it in a `with` statement and iterate over its messages; it ends with an error only;
        with ClosingError, CutError and SilenceError it can be resumed after its `bookmark`.
        """
        mark = Bookmark(after) if isinstance(after, int) else after
        request = query.watch(
            _encoded(prefix),
            after=mark,
            with_snapshot=with_snapshot,
            prev_kv=prev_kv,
            heartbeat=heartbeat,
        )
        connection, fresh = self._open(request)
        connection.expect_every(heartbeat * MISSED_HEARTBEATS)
        if with_snapshot:
            begin = None
        elif mark is None:
            begin = Bookmark(fresh.revision, fresh.epoch)
        else:
            begin = Bookmark(mark.revision, mark.epoch or fresh.epoch)
        return Watch(connection, fresh, WatchLines(begin))

    def status(self) -> status.Status:
        """Ask how the daemon and its ranges are doing."""
        return status.decode_status(self.fetch(query.status())[1])

    def accept(self, name: str) -> bool:
        """Let through what the guard of the range called `name` holds back; whether there was anything."""
        return status.decode_accepted(self.fetch(query.accept(name))[1])

    def fetch(self, request: Request) -> tuple[Head, bytes]:
        """Return a whole answer as it was sent; AnswerError when it is a refusal."""
        known = self._known_connection()
        if known is not None:
            try:
                return self._fetch(known, request)
            except CutError:
                pass  # an idle connection dies with the daemon it led to; its successor deserves one try
        self._connection = Connection(self.socket_path, self.timeout)
        return self._fetch(self._connection, request)

    def open_snapshot(self, request: Request) -> Snapshot:
        """Begin to read the answer to a snapshot request; `messages()` and `line` give all of it."""
        return Snapshot(*self._open(request))

    def close(self) -> None:
        """Close the shared connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _known_connection(self) -> Connection | None:
        if self._pid != os.getpid():
            # The parent goes on using the connection: two readers would take each other's answers.
            self._pid = os.getpid()
            self.close()
        if self._connection is not None and not self._connection.reusable:
            self.close()
        return self._connection

    @staticmethod
    def _fetch(connection: Connection, request: Request) -> tuple[Head, bytes]:
        head = connection.request(request)
        _accept(connection, head)
        return head, b"".join(connection.body())

    def _open(self, request: Request) -> tuple[Connection, Freshness]:
        connection = Connection(self.socket_path, self.timeout)
        try:
            head = connection.request(request)
            _accept(connection, head)
            return connection, answers.freshness(head)
        except BaseException:
            connection.close()
            raise


def _accept(connection: Connection, head: Head) -> None:
    if head.status != 200:
        raise answers.refusal(head, b"".join(connection.body()))


def _encoded(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
