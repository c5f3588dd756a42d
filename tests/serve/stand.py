"""The server in this process, on a real socket, with real stores whose keeper is the test.

For what cannot be made with a real daemon: a clock that is turned by hand, an etcd that answers when told to,
a history of any length. The server's event loop runs in a thread; the test speaks to it as any reader does.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from syncd.errors import SyncdError
from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Batch, Event, Record
from syncd.serve import Context, Member, Server, Sources, bound
from syncd.status import (
    Counters,
    EndpointStatus,
    EtcdStatus,
    Held,
    HistoryStatus,
    RangeStatus,
    State,
    Syncing,
)
from syncd.store import Store
from tests.serve.local import SECONDS, Answer, Stream, ask, target, wait_until

EPOCH = "e"
UNBOUNDED = 10**9

T = TypeVar("T")


class Clock:
    """Seconds, running as always, and put forward by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.ahead = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self._loop.time() + self.ahead


class Unanswered(SyncdError):
    """etcd is down."""


class Kept:
    """One range, kept by the test; a `Source`."""

    def __init__(self, keys: KeyRange, history_events: int = UNBOUNDED) -> None:
        self.store = Store(keys, history_events=history_events, history_bytes=UNBOUNDED)
        self.state: State = "cold"
        self.age: float | None = None
        self.syncing: Syncing | None = None
        self.error: str | None = None
        self.etcd: int | SyncdError | None = None
        """What etcd answers when asked for its revision; None: nothing, ever."""
        self.confirmed = True
        self.asked = 0
        self.hurried = 0
        self.held: Held | None = None

    def freshness(self) -> tuple[State, float | None]:
        """As the test wants it."""
        return self.state, self.age

    def status(self) -> RangeStatus:
        """As the test wants it."""
        store = self.store
        return RangeStatus(
            range=store.keys.name,
            state=self.state,
            revision=store.revision,
            epoch=store.epoch,
            age=self.age,
            lag=0,
            keys=store.count,
            bytes=store.size,
            syncing=self.syncing,
            endpoint=None,
            duplex=None,
            error=self.error,
            history=HistoryStatus(store.history.events, store.history.size, store.history.oldest_revision),
            counters=Counters(0, {}, {}),
            held=self.held,
        )

    def accept(self) -> bool:
        """Nothing is held any more."""
        held, self.held = self.held, None
        return held is not None

    def etcd_revision(self) -> asyncio.Future[int]:
        """As the test wants it."""
        self.asked += 1
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if isinstance(self.etcd, SyncdError):
            future.set_exception(self.etcd)
        elif self.etcd is not None:
            future.set_result(self.etcd)
        return future

    def hurry(self) -> None:
        """Count it."""
        self.hurried += 1

    def fill(self, pairs: Mapping[bytes, bytes], revision: int, epoch: str = EPOCH) -> Batch | None:
        """Take in a full read, of keys that were all made at `revision`."""
        rebuild = self.store.rebuild(revision, epoch)
        rebuild.add([Record(k, v, revision, revision, 1) for k, v in sorted(pairs.items())])
        rebuild.end()
        while rebuild.step():
            pass
        batch = self.store.commit(rebuild)
        self.state, self.age = "live", 0.0
        return batch

    def write(self, *pairs: tuple[bytes, bytes | None]) -> Batch:
        """Apply the next revision: new values of keys, None for a deletion."""
        revision = self.store.revision + 1
        return self.store.apply(revision, [self._event(key, value, revision) for key, value in pairs])

    def _event(self, key: bytes, value: bytes | None, revision: int) -> Event:
        if value is None:
            return Event(Record(key, mod_revision=revision), deleted=True)
        old = self.store.get(key)
        if old is None:
            return Event(Record(key, value, revision, revision, 1))
        return Event(Record(key, value, old.create_revision, revision, old.version + 1))


class Above:
    """etcd, as the test wants it; an `Upstream`."""

    def __init__(self) -> None:
        self.told = Member(cluster_id=0xE, member_id=7, raft_term=2, version="3.5.16")
        self.calls: list[tuple[str, bytes]] = []
        self.answer: tuple[int, bytes] | SyncdError = Unanswered("etcd is down")
        """What it says to each call."""
        self.says: dict[str, dict[str, Any]] = {}
        """What it says of itself, by path."""

    def member(self) -> Member:
        """As the test wants it."""
        return self.told

    async def call(self, path: str, body: bytes, user: int | None) -> tuple[int, bytes]:
        """As the test wants it, and kept."""
        del user
        self.calls.append((path, body))
        if isinstance(self.answer, SyncdError):
            raise self.answer
        return self.answer

    async def about(self, path: str) -> dict[str, Any] | None:
        """As the test wants it."""
        return self.says.get(path)


class Stand:
    """A running server; `on_loop` does something in its thread, between two requests."""

    def __init__(self, kept: Iterable[Kept], directory: Path) -> None:
        self.kept = tuple(kept)
        self.socket = directory / "sock"
        self.loop = asyncio.new_event_loop()
        self.clock = Clock(self.loop)
        self.accidents: list[dict[str, Any]] = []
        """What asyncio found nobody to tell."""
        self.loop.set_exception_handler(lambda _, context: self.accidents.append(context))
        self.upstream = Above()
        self.context = Context(
            sources=Sources(self.kept),
            etcd=lambda: self.etcd,
            upstream=self.upstream,
            clock=self.clock,
            version="1.2.3",
            started=self.clock(),
        )
        self.etcd = EtcdStatus((EndpointStatus("http://etcd", "3.5.16", current=True, failures=0),))
        self._closed = asyncio.Event()

    @property
    def source(self) -> Kept:
        """The only range."""
        [source] = self.kept
        return source

    def on_loop(self, what: Callable[[], T]) -> T:
        """Call `what` in the server's thread."""

        async def called() -> T:
            return what()

        return self.run(called())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)

    def write(self, *pairs: tuple[bytes, bytes | None]) -> int:
        """Apply one revision to the only range; which one it is."""
        return self.on_loop(lambda: self.source.write(*pairs)).revision

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """One request."""
        return ask(self.socket, target, method, **headers)

    def get(self, call: str, /, **parameters: object) -> Answer:
        """One request with parameters."""
        return ask(self.socket, target(call, **parameters))

    def stream(self, call: str, /, headers: Mapping[str, str] | None = None, **parameters: object) -> Stream:
        """Begin an answer that goes on."""
        return Stream(self.socket, target(call, **parameters), headers)

    def wait_for_readers(self, count: int) -> None:
        """Wait until so many watches are open."""
        wait_until(lambda: self.context.readers == count, f"{count} readers")

    def stop(self) -> None:
        """Tell the server to stop, as the daemon does; it may have done so already."""
        self.loop.call_soon_threadsafe(self._closed.set)

    async def serve(self, started: threading.Event) -> None:
        """Serve until `stop`."""
        try:
            with bound(self.socket, 0o600, None) as listener:
                async with Server(self.context, listener):
                    started.set()
                    await self._closed.wait()
        finally:
            started.set()


@contextmanager
def serving(*kept: Kept) -> Iterator[Stand]:
    """Run a server of these ranges; by default of one below `/`, at revision 10, with three keys."""
    if not kept:
        kept = (Kept(prefix_range(b"/")),)
        kept[0].fill({b"/a": b"1", b"/b": b"2", b"/c": b"3"}, 10)
    with tempfile.TemporaryDirectory(prefix="syncd-") as directory:
        stand = Stand(kept, Path(directory))
        started = threading.Event()
        failures: list[BaseException] = []

        def serve() -> None:
            asyncio.set_event_loop(stand.loop)
            try:
                stand.loop.run_until_complete(stand.serve(started))
            except BaseException as error:  # noqa: BLE001 - told to the test below
                failures.append(error)

        thread = threading.Thread(target=serve, name="server")
        thread.start()
        assert started.wait(SECONDS)
        try:
            yield stand
        finally:
            stand.stop()
            thread.join(SECONDS)
            stand.loop.run_until_complete(stand.loop.shutdown_asyncgens())
            stand.loop.close()
        assert not failures, failures
        assert not stand.accidents, stand.accidents
