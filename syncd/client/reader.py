"""All that a reader may ask the daemon, once for both fronts: as coroutines that wait by a `Waiting` only.

asyncio is not needed for that, nor imported: `blocking` runs these very coroutines with a `Waiting` that
blocks, so that none of them ever suspends; `asynchronous` awaits them.
"""

# ruff: noqa: ASYNC109 - a `timeout` here is for silence and not for the whole, as asyncio.timeout's is

from __future__ import annotations

import builtins
import os
import time
from typing import Unpack

from syncd.client import answers, query, status
from syncd.client.answers import Freshness, Value
from syncd.client.backoff import delays, spread
from syncd.client.connection import Connection, Waiting
from syncd.client.errors import ClientError, CutError, NotFoundError, Remedy, asked_to_wait, remedy
from syncd.client.http11 import Head
from syncd.client.lines import SnapshotLines
from syncd.client.packed import Splitter
from syncd.client.query import LONGEST_WAIT, Read, ReadOptions, Request, Selection, duration
from syncd.client.streams import AsyncSnapshot, Way
from syncd.client.watching import AsyncWatch, WatchOptions, Wish
from syncd.records import Record

DEFAULT_SOCKET = "/run/syncd/syncd.sock"

DEFAULT_TIMEOUT = 30.0
"""Seconds: a linearizable read may take as long as etcd's own time-out of some ten seconds."""

IDLE = 8
"""Connections that are kept for the next requests; more are open only while as many are under way."""

GRACE = 2.0
"""Seconds that the answer may take when the daemon has waited as long as it was asked to."""

Keys = builtins.list[bytes]
SocketPath = str | os.PathLike[str]


class Reader:
    """Asks one daemon; any number of tasks or threads at once, for each request has a connection of its own.

    Connections are kept for the requests that follow. One that died while it was idle, as with a daemon
    that restarts, is noticed only when it is used: then the request gets one more try on a new one.
    """

    def __init__(self, socket_path: SocketPath | None, timeout: float, waiting: Waiting) -> None:
        self.socket_path = os.fspath(socket_path or os.environ.get("SYNCD_SOCKET") or DEFAULT_SOCKET)
        self.timeout = duration("timeout", timeout)
        self._waiting = waiting
        self._idle: builtins.list[Connection] = []

    async def get(
        self, key: bytes | str, *, timeout: float | None = None, **read: Unpack[ReadOptions]
    ) -> Value:
        """Read one key; NotFoundError when it does not exist."""
        name = query.encoded(key)
        return answers.value(name, *await self.fetch(query.value(name, Read(**read)), timeout=timeout))

    async def list(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
        **read: Unpack[ReadOptions],
    ) -> Keys:
        """Read which keys there are under a prefix, in order, all at one revision."""
        request = query.snapshot(query.selection(prefix, key), Read(**read), keys_only=True)
        return _keys((await self.fetch(request, timeout=timeout))[1])

    def snapshot(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        keys_only: bool = False,
        as_json: bool = False,
        timeout: float | None = None,
        **read: Unpack[ReadOptions],
    ) -> AsyncSnapshot:
        """Read all keys under a prefix at one revision; see `Client.snapshot`."""
        keys = query.selection(prefix, key)
        request = query.snapshot(keys, Read(**read), keys_only=keys_only, as_json=as_json)
        return AsyncSnapshot(self._way(timeout), request)

    def watch(
        self,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
        **options: Unpack[WatchOptions],
    ) -> AsyncWatch:
        """Watch the changes under a prefix; see `Client.watch`."""
        return AsyncWatch(self._way(timeout), query.selection(prefix, key), Wish(**options))

    async def status(self, *, timeout: float | None = None) -> status.Status:
        """Ask how the daemon and its ranges are doing."""
        return status.decode_status((await self.fetch(query.status(), timeout=timeout))[1])

    async def wait(
        self,
        min_revision: int,
        prefix: bytes | str | None = None,
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
    ) -> Freshness:
        """Wait until the daemon has a revision of the range that `prefix` or `key` is in.

        Also through restarts of the daemon. TooStaleError when it is not reached within `timeout` seconds,
        or the last error, when the daemon could not even be asked.
        """
        keys = query.selection(prefix, key)
        seconds = self.timeout if timeout is None else duration("timeout", timeout)
        end = time.monotonic() + seconds
        for delay in delays():
            left = min(max(end - time.monotonic(), 0.0), LONGEST_WAIT)
            try:
                return await self._reached(min_revision, keys, left)
            except ClientError as error:
                pause = max(delay, spread(asked_to_wait(error)))
                if remedy(error) is not Remedy.RESUME or time.monotonic() + pause >= end:
                    raise
            await self._waiting.sleep(pause)
        raise AssertionError("there is always another delay")

    async def accept(self, name: str, *, timeout: float | None = None) -> bool:
        """Let through what the guard of the range called `name` holds back; whether there was anything."""
        return status.decode_accepted((await self.fetch(query.accept(name), timeout=timeout))[1])

    async def fetch(self, request: Request, *, timeout: float | None = None) -> tuple[Head, bytes]:
        """Return a whole answer as it was sent; AnswerError when it is a refusal."""
        head, body = await self._exchange(request, timeout)
        if head.status != 200:
            raise answers.refusal(head, body)
        return head, body

    def close(self) -> None:
        """Close the connections that are idle; the next request makes a new one."""
        while (connection := self._take_idle()) is not None:
            connection.close()

    async def _reached(self, revision: int, keys: Selection, seconds: float) -> Freshness:
        # No call of the API only waits, but reading a key does: whether there is such a key is all the same.
        request = query.value(keys.start or b"\0", Read(min_revision=revision, wait=seconds))
        head, body = await self._exchange(request, GRACE)
        if head.status != 200 and not isinstance(error := answers.refusal(head, body), NotFoundError):
            raise error
        return answers.freshness(head)

    async def _exchange(self, request: Request, timeout: float | None) -> tuple[Head, bytes]:
        way = self._way(timeout)
        idle = self._take_idle()
        if idle is not None:
            try:
                return await self._ask(idle, request, way.timeout)
            except CutError:
                pass  # an idle connection dies with the daemon it led to; its successor deserves one try
        return await self._ask(await way.connect(), request, way.timeout)

    async def _ask(self, connection: Connection, request: Request, silence: float) -> tuple[Head, bytes]:
        try:
            head = await connection.request(request, silence)
            body = await connection.rest()
        except BaseException:  # also a wait that was cancelled: the answer would be taken for the next one
            connection.close()
            raise
        if connection.reusable and len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return head, body

    def _take_idle(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:  # no look before: between the two another thread could take the last one
            return None

    def _way(self, timeout: float | None) -> Way:
        silence = self.timeout if timeout is None else duration("timeout", timeout)
        return Way(self.socket_path, silence, self._waiting)


def _keys(body: bytes) -> Keys:
    """Return the keys of a whole snapshot."""
    splitter, reader = Splitter(), SnapshotLines()
    lines = [*splitter.feed(body), *splitter.finish()]
    messages = [reader.receive(line) for line in lines]
    reader.finish()
    return [message.key for message in messages if isinstance(message, Record)]
