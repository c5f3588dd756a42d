"""The watches of one client: what it asks for is done, and what happens is told.

All by one task, so that documents come in an order that makes sense: `created`, events, `canceled`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress

from aiohttp import web

from syncd.keyrange import KeyRange
from syncd.records import Batch
from syncd.serve.context import Context
from syncd.serve.encode import PIECE_EVENTS
from syncd.serve.errors import ApiError
from syncd.serve.freshness import must_be_ready
from syncd.serve.readers import Readers
from syncd.serve.source import Source
from syncd.serve.stream import Lines
from syncd.serve.v3 import results
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.messages import header
from syncd.serve.v3.requests import CreateRequest, WatchRequest
from syncd.serve.v3.watcher import CompactedError, Watcher
from syncd.serve.watch import BATCHES

PROGRESS_SECONDS = 30.0
"""Between progress notifications for those who want them: etcd's are 10 minutes apart, but then a client has
given up meanwhile, or its revision is compacted."""

HELD = "Syncd-Held"
"""A header: another syncd asks for a watch from the revision that it holds, as it has to of etcd, and knows
what that changed. A syncd that read its range at that very revision could not tell."""

EMPTY_SECONDS = 30.0
"""For which a stream may be without any watch: until then, it holds a place for nothing."""

WAITING = 16
"""Requests that were read, but not answered yet; then the client has to wait."""

TURN = 64
"""Watches that are looked after before others have a turn."""


class Watches:
    """The watches of one client."""

    def __init__(
        self,
        context: Context,
        request: web.Request,
        lines: Lines,
        readers: Readers,
        subscriptions: ExitStack,
    ) -> None:
        self._context = context
        self._request = request
        self._lines = lines
        self._readers = readers
        self._subscriptions = subscriptions
        self._subscribed: set[Source] = set()
        self._asked: asyncio.Queue[WatchRequest | EtcdError] = asyncio.Queue(WAITING)
        self._moved = asyncio.Event()
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        held = request.headers.get(HELD, "")
        self._held = int(held) if held.isdecimal() and len(held) < 20 else 0
        self._progress_wanted = 0
        self._notify_at = context.clock() + PROGRESS_SECONDS
        self._empty_until = context.clock() + EMPTY_SECONDS
        # Who may read no range learns nothing of etcd, either.
        self._may_know = bool(context.visible(request))
        self._of_all: dict[str, str] | None = None
        """The header for all watches, if it was asked for since one was added, or told something."""
        self.gone: ConnectionError | None = None
        """Set when the client is."""

    async def take(self, first: WatchRequest, requests: AsyncGenerator[WatchRequest, None]) -> None:
        """Let `run` know what is asked for, as fast as it can do it; when the body ends, it goes on."""
        request: WatchRequest | EtcdError | None = first
        while request is not None:
            await self._asked.put(request)
            self._moved.set()
            if isinstance(request, EtcdError):
                return
            try:
                request = await anext(requests, None)
            except EtcdError as error:
                request = error
            except ConnectionError:
                return  # `run` finds out, too

    async def run(self) -> None:
        """Until the daemon stops, etcd is another one, or a request makes no sense."""
        try:
            await self._lines.line(results.failure(await self._followed()))
        except ConnectionError as error:
            self.gone = error  # raised here, it would come out of the task group as something else

    async def _followed(self) -> EtcdError:
        """Do and tell what there is; why that is over."""
        clock, closing = self._context.clock, self._context.closing
        try:
            while not closing.is_set():
                self._moved.clear()
                while not self._asked.empty():
                    await self._do(self._asked.get_nowait())
                if await self._tell():
                    await asyncio.sleep(0)
                elif not self._watchers and clock() >= self._empty_until:
                    return EtcdError(Code.UNAVAILABLE, f"syncd: nothing was watched for {EMPTY_SECONDS:g} s")
                elif (due := self._due() - clock()) <= 0:
                    await self._notify()
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(due):
                            await self._moved.wait()
        except EtcdError as error:
            return error
        return EtcdError(Code.UNAVAILABLE, "syncd: it is being stopped")

    def _due(self) -> float:
        """When there is something to do at the latest."""
        return self._notify_at if self._watchers else min(self._notify_at, self._empty_until)

    async def _do(self, asked: WatchRequest | EtcdError) -> None:
        if isinstance(asked, EtcdError):
            raise asked
        if asked.create_request:
            await self._send(self._create(asked.create_request))
        elif asked.cancel_request:
            watcher = self._watchers.get(asked.cancel_request.watch_id)
            if watcher:  # etcd says nothing of those that it doesn't know
                self._forget(watcher)
                await self._send(results.result(self._header(watcher), watcher.watch_id, canceled=True))
        elif asked.progress_request and self._watchers:
            self._progress_wanted += 1

    def _create(self, request: CreateRequest) -> bytes:
        """Begin a watch; what to say of it."""
        keys = KeyRange(request.key or b"\0", request.range_end)
        if keys.stop is not None and keys.stop <= keys.key:
            return results.reasoned(self._refusal(), "mvcc: watcher range is empty")
        try:
            source = self._context.source(self._request, keys)
        except ApiError as error:
            return results.refused(self._refusal(), EtcdError.like(error))
        if request.watch_id and request.watch_id in self._watchers:
            return results.reasoned(self._refusal(), "mvcc: duplicate watch ID provided on the WatchStream")
        try:
            must_be_ready(self._context, source)
        except ApiError as error:
            raise EtcdError.like(error) from error
        try:
            self._readers.add()
        except ApiError as error:
            return results.refused(self._refusal(), EtcdError.like(error))
        watcher = Watcher(source, keys, request, request.watch_id or self._free_id(), self._held)
        self._watchers[watcher.watch_id] = watcher
        self._of_all = None
        if source not in self._subscribed:
            self._subscribed.add(source)
            self._subscriptions.callback(source.store.subscribe(self._moved.set))
        return results.result(header(source, self._context.upstream.member()), watcher.watch_id, created=True)

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    async def _tell(self) -> bool:
        """Tell what has changed; whether there was anything, and perhaps is more."""
        told = False
        for number, watcher in enumerate(tuple(self._watchers.values())):
            await _turn(number)
            if not watcher.at_end:
                told = True
                self._of_all = None
                try:
                    await self._events(watcher, watcher.read(BATCHES))
                except CompactedError as lost:
                    self._forget(watcher)
                    document = results.compacted(self._header(watcher), watcher.watch_id, lost.revision)
                    await self._send(document)
        if self._progress_wanted and all(watcher.at_end for watcher in self._watchers.values()):
            self._progress_wanted -= 1
            await self._send(results.result(self._header(*self._watchers.values()), results.INVALID_ID))
            return True
        return told

    async def _events(self, watcher: Watcher, batches: list[Batch]) -> None:
        document = results.Events(self._header(watcher), watcher.watch_id, fragment=watcher.fragment)
        work = 0
        for batch in batches:
            for number, piece in enumerate(self._context.batch_events.of(batch, watcher.selection)):
                if number:
                    await asyncio.sleep(0)  # each further piece was work
                if piece:
                    await self._add(document.add(piece))
                    watcher.quiet = False
            work += len(batch.events)
            if work > PIECE_EVENTS:
                work = 0
                await asyncio.sleep(0)
        await self._add(document.end())
        await self._lines.flush()

    def _forget(self, watcher: Watcher) -> None:
        del self._watchers[watcher.watch_id]
        self._readers.remove()
        if not self._watchers:
            self._empty_until = self._context.clock() + EMPTY_SECONDS
            self._progress_wanted = 0  # there is nothing to tell it of

    async def _notify(self) -> None:
        """Tell those who want it, and have heard nothing else lately, how far they are."""
        self._notify_at = self._context.clock() + PROGRESS_SECONDS
        for number, watcher in enumerate(tuple(self._watchers.values())):
            await _turn(number)
            if watcher.progress_notify:
                if watcher.quiet:
                    await self._send(results.result(self._header(watcher), watcher.watch_id))
                watcher.quiet = True

    async def _send(self, document: bytes) -> None:
        await self._lines.add(document)
        await self._lines.flush()

    async def _add(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            await self._lines.add(piece)

    def _refusal(self) -> dict[str, str]:
        """The header of an answer to what makes no watch; it is that of all there are, or a little behind."""
        if not self._may_know:
            return {}
        if self._watchers:
            self._of_all = self._of_all or self._header(*self._watchers.values())
            return self._of_all
        member = self._context.upstream.member()
        told = {"cluster_id": member.cluster_id, "member_id": member.member_id, "raft_term": member.raft_term}
        return {name: str(number) for name, number in told.items() if number}

    def _header(self, *watchers: Watcher) -> dict[str, str]:
        """Who tells, and up to which revision that makes these watches complete.

        etcd's own is ahead of the events of a watch that is catching up, and there are clients that
        resume from it all the same.
        """
        last = min(watchers, key=lambda each: each.revision)
        return header(last.source, self._context.upstream.member()) | {"revision": str(last.revision)}


async def _turn(number: int) -> None:
    """Let others have theirs now and then."""
    if number % TURN == TURN - 1:
        await asyncio.sleep(0)
