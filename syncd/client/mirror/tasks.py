"""`AsyncMirror`: kept current by an asyncio task."""

# ruff: noqa: ASYNC109 - the same parameters as `Mirror` has; the caller need not know asyncio.timeout's error

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from syncd.client.asynchronous import AsyncClient
from syncd.client.errors import NotReadyError
from syncd.client.mirror import forks
from syncd.client.mirror.mirrored import SELDOM, Loads, Mirrored, MirrorOptions, Prefix
from syncd.client.mirror.updates import Update

V = TypeVar("V")


class AsyncMirror(Mirrored[V]):
    """The keys under a prefix as a local mapping that a task keeps current.

        async with AsyncMirror("/apisix/routes/", decode=json) as routes:
            await routes.wait_ready(timeout=10)
            routes["/apisix/routes/1"]

    Lookups don't wait, so there is no `await` with them. `decode` and callbacks run in the event loop, and so
    does the work of a first snapshot, some microseconds a key: with a great many of them, take a `Mirror`,
    whose thread leaves the loop alone. In a forked child this stays as it was at the fork, `stale`.

    Where an application has hooks in place of a block: `await routes.start()`, `await routes.close()`.
    """

    @overload
    def __init__(
        self: AsyncMirror[bytes],
        prefix: Prefix | None = None,
        *,
        decode: None = None,
        **options: Unpack[MirrorOptions[bytes]],
    ) -> None: ...
    @overload
    def __init__(
        self,
        prefix: Prefix | None = None,
        *,
        decode: Callable[[bytes], V],
        **options: Unpack[MirrorOptions[V]],
    ) -> None: ...
    @overload
    def __init__(
        self: AsyncMirror[Any],
        prefix: Prefix | None = None,
        *,
        decode: Loads | Callable[[bytes], Any] | None,
        **options: Unpack[MirrorOptions[Any]],
    ) -> None: ...
    def __init__(self, prefix: Prefix | None = None, *, decode: Any = None, **options: Any) -> None:
        super().__init__(prefix, decode, **options)
        self._moved = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._keeper.wake = self._wake

    async def start(self) -> Self:
        """Begin to keep it current, in the running loop; RuntimeError after `close`."""
        if self._task is None:
            forks.register(self._keeper)
            self._keeper.begin()
            self._group = await asyncio.TaskGroup().__aenter__()
            self._task = self._group.create_task(self._run(), name=f"mirror of {self._keeper.prefix}")
        self._keeper.must_be_kept()
        return self

    async def close(self) -> None:
        """Let it be as it is now; lookups go on. Any task may call this, any number of times."""
        self._keeper.end()
        group, self._group = self._group, None
        if group is not None and self._task is not None:
            self._task.cancel()
            await group.__aexit__(None, None, None)  # an error of the caller's is not for the group to wrap

    async def wait_ready(self, timeout: float | None = None) -> Self:
        """Wait for the first contents; NotReadyError, with the reason, if they don't come in time.

        At once, if waiting does not help: when this process may not read them, or nobody mirrors them.
        """
        with suppress(TimeoutError):
            await self._until(lambda: self._keeper.settled, timeout)
        self._keeper.must_be_ready()
        return self

    async def wait(self, min_revision: int, timeout: float | None = None) -> Self:
        """Wait until this has come to a revision, so that one reads one's own writes; TooStaleError if not.

        A revision that changed nothing here is known of by the next heartbeat.
        """
        with suppress(TimeoutError):
            await self._until(lambda: self._keeper.reached(min_revision), timeout)
        self._keeper.must_have_reached(min_revision)
        return self

    def changes(self) -> AsyncChanges[V]:
        """Iterate over the updates from now on, until the mirror is closed.

        A snapshot that is taken afterwards has all updates up to its revision in it.
        """
        return AsyncChanges(self)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._follow()
                except Exception as error:  # noqa: BLE001 - it is told, and all goes on
                    self._keeper.fail(error)
                await asyncio.sleep(SELDOM)
        finally:
            self._keeper.end("the task that kept the mirror has ended")

    async def _follow(self) -> None:
        watch = AsyncClient(self._socket_path).watch(after=self._replica.bookmark, **self._watch_for)
        with closing(watch):
            async for message in watch.messages():
                self._keeper.receive(message)

    async def _until(self, condition: Callable[[], object], timeout: float | None) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class AsyncChanges(AsyncIterator[Update[V]]):
    """The updates of a mirror, one after the other; for one task at a time.

    One who does not keep up gets many updates as one, with `gap`.
    """

    def __init__(self, mirror: AsyncMirror[V]) -> None:
        self._mirror = mirror
        self._feed = mirror._keeper.feed()  # noqa: SLF001 - a part of it

    async def __anext__(self) -> Update[V]:
        if (update := await self._take(None)) is None:
            raise StopAsyncIteration
        return update

    async def next(self, timeout: float | None = None) -> Update[V]:
        """Wait for the next update; TimeoutError, or NotReadyError after the last one of a closed mirror."""
        if (update := await self._take(timeout)) is None:
            keeper = self._mirror._keeper  # noqa: SLF001
            raise NotReadyError(f"no more changes of {keeper.prefix!r}: {keeper.error}")
        return update

    async def _take(self, timeout: float | None) -> Update[V] | None:
        mirror, feed = self._mirror, self._feed
        keeper = mirror._keeper  # noqa: SLF001
        await mirror._until(lambda: feed.peek() or not keeper.kept, timeout)  # noqa: SLF001
        return feed.take()
