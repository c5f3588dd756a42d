"""`Mirror`: kept current by a thread of its own."""

from __future__ import annotations

import queue
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from syncd.client.blocking import Client, Watch
from syncd.client.errors import CutError, NotReadyError
from syncd.client.mirror import forks
from syncd.client.mirror.keeper import Keeper
from syncd.client.mirror.mirrored import SELDOM, Loads, Mirrored, MirrorOptions, Prefix
from syncd.client.mirror.updates import Update

V = TypeVar("V")

CLOSE_SECONDS = 5.0
"""How long `close` waits for a callback that is running."""


class Mirror(Mirrored[V]):
    """The keys under a prefix as a local mapping that a background thread keeps current.

        with Mirror("/apisix/routes/", decode=json) as routes:
            routes.wait_ready(timeout=10)
            routes["/apisix/routes/1"]

    Threads may share it. The daemon may not be there yet, or go and come back. A forked child has what its
    parent had, and a thread and a connection of its own at once; what its callbacks had not been told at the
    fork, they are told there, once more if they were running. In a child that a callback itself forks, that
    callback goes on, and this mirror stays as it was at the fork; who needs one there makes another one.

    A mirror that is lost without `close()` ends with a ResourceWarning; nobody needs to close one before the
    process ends.
    """

    _background: _Background | None = None

    @overload
    def __init__(
        self: Mirror[bytes],
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
        self: Mirror[Any],
        prefix: Prefix | None = None,
        *,
        decode: Loads | Callable[[bytes], Any] | None,
        **options: Unpack[MirrorOptions[Any]],
    ) -> None: ...
    def __init__(self, prefix: Prefix | None = None, *, decode: Any = None, **options: Any) -> None:
        super().__init__(prefix, decode, **options)

    def start(self) -> Self:
        """Begin to keep it current, in the background; RuntimeError after `close`."""
        if self._background is None:
            watch = partial(Client(self._socket_path).watch, **self._watch_for)
            self._background = _Background(self._keeper, watch)
            self._end = weakref.finalize(self, self._background.stop)  # also when the interpreter exits
            self._background.start()
        self._keeper.must_be_kept()
        return self

    def close(self) -> None:
        """Let it be as it is now; lookups go on."""
        if self._background is not None:
            self._end()
            self._background.join()
            self._keeper.end()

    def wait_ready(self, timeout: float | None = None) -> Self:
        """Wait for the first contents; NotReadyError, with the reason, if they don't come in time.

        At once, if waiting does not help: when this process may not read them, or nobody mirrors them.
        """
        keeper = self._keeper
        with keeper.lock:
            keeper.wait_for(lambda: keeper.settled, timeout)
            keeper.must_be_ready()
        return self

    def wait(self, min_revision: int, timeout: float | None = None) -> Self:
        """Wait until this has come to a revision, so that one reads one's own writes; TooStaleError if not.

        A revision that changed nothing here is known of by the next heartbeat.
        """
        keeper = self._keeper
        with keeper.lock:
            keeper.wait_for(lambda: keeper.reached(min_revision), timeout)
            keeper.must_have_reached(min_revision)
        return self

    def changes(self) -> Changes[V]:
        """Iterate over the updates from now on, until the mirror is closed.

        A snapshot that is taken afterwards has all updates up to its revision in it.
        """
        return Changes(self._keeper)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._background is not None and self._end.alive:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=1, source=self)


class Changes(Iterator[Update[V]]):
    """The updates of a mirror, one after the other; for one thread at a time.

    One who does not keep up gets many updates as one, with `gap`.
    """

    def __init__(self, keeper: Keeper[V]) -> None:
        self._keeper = keeper
        self._feed = keeper.feed()

    def __next__(self) -> Update[V]:
        if (update := self._take(None)) is None:
            raise StopIteration
        return update

    def next(self, timeout: float | None = None) -> Update[V]:
        """Wait for the next update; TimeoutError, or NotReadyError after the last one of a closed mirror."""
        if (update := self._take(timeout)) is None:
            raise NotReadyError(f"no more changes of {self._keeper.prefix!r}: {self._keeper.error}")
        return update

    def _take(self, timeout: float | None) -> Update[V] | None:
        keeper, feed = self._keeper, self._feed
        with keeper.lock:
            if not keeper.wait_for(lambda: feed.peek() or not keeper.kept, timeout):
                raise TimeoutError(f"nothing changed under {keeper.prefix!r} within {timeout} s")
            return feed.take()


class _Background:
    """The thread and its watch. They know the keeper, and not the mirror, which can be lost meanwhile."""

    def __init__(self, keeper: Keeper[Any], new_watch: Callable[..., Watch]) -> None:
        self.lock = keeper.lock
        self._keeper = keeper
        self._new_watch = new_watch
        self._watch: Watch | None = None
        self._stopping: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._keeper.begin()
        self._run_thread()
        forks.register(self)

    def stop(self) -> None:
        """Also called by the garbage collector, in the middle of anything: so it takes no lock."""
        self._stopping.put(None)
        if self._watch is not None:
            self._watch.stop()

    def join(self) -> None:
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)

    def forked(self) -> None:
        """Leave the parent's connection to it, and make another one, unless it was stopped.

        When a callback forks, this thread itself goes on in the child. To tell the callback there what
        changes would make it fork again, and again; so that is the end.
        """
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        if self._keeper.thread == threading.get_ident():
            self._stopping.put(None)
            self._keeper.end("this process was forked by a callback of the mirror, which its parent keeps")
        elif self._stopping.empty():
            self._keeper.interrupt(CutError("this process was forked, and the connection is its parent's"))
            self._run_thread()

    def _run_thread(self) -> None:
        self._stopping = queue.SimpleQueue()  # a fork may have caught the old one's lock
        name = f"mirror of {self._keeper.prefix}"
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name=name, daemon=True)
        self._thread.start()

    def _run(self, stopping: queue.SimpleQueue[None]) -> None:
        keeper = self._keeper
        keeper.thread = threading.get_ident()
        why = "the thread that kept the mirror has ended"
        try:
            while stopping.empty():
                try:
                    self._follow(stopping)
                except BaseException as error:  # noqa: BLE001 - it is told, and all goes on
                    keeper.fail(error)
                with suppress(queue.Empty):
                    stopping.get(timeout=SELDOM)
                    break
            why = "the mirror was closed"
        finally:
            keeper.end(why)

    def _follow(self, stopping: queue.SimpleQueue[None]) -> None:
        """Follow a watch until this is stopped, or it fails for good."""
        watch = self._new_watch(after=self._keeper.replica.bookmark)
        with closing(watch):
            self._watch = watch
            # Only now: who stops this either finds the watch there, or has been seen here.
            if stopping.empty():
                for message in watch.messages():
                    self._keeper.receive(message)
