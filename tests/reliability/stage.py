"""Where it all plays: a guarded cluster, a daemon whose only road to it are proxies, and a writer.

    cluster = GuardedCluster("3.5.30", tls=True)
    async with Stage(cluster, history, judge, random.Random(1)) as stage:
        ...  # a fault, and its end
        seconds = await stage.recovered()

The members reach each other through proxies too, so that one can be cut off from its peers alone. The writer
is here, but is run by whoever wants writes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, Self

from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.reliability import shifted
from tests.reliability.guarded import GuardedCluster
from tests.reliability.keyring import PRIVATE, Keyring, ends, known
from tests.reliability.lives import Lives
from tests.reliability.members import Members
from tests.reliability.peers import PeerProxy, between
from tests.reliability.road import Road
from tests.reliability.users import ROOT, ROOT_PASSWORD, USER, Users
from tests.reliability.writer import GROUPS, Acknowledging, Writer
from tests.serve.local import CutError, target

RANGE = b"/c/"
HEARTBEAT = 1.0
REQUEST = 2.0
HISTORY_EVENTS = 2_000
PAGE_BYTES = 16 << 10
"""As small as syncd allows: a full read of a few hundred keys is many pages, and takes a while."""

PATIENCE = 60.0
"""Seconds until the daemon must have recovered from anything."""

ASK_AGAIN_SECONDS = 0.1
REPOSITORY = Path(__file__).resolve().parents[2]


class NotRecoveredError(Exception):
    """The daemon did not come so far in time, although nothing keeps it from that."""


class History(Acknowledging, Protocol):
    """What the stage tells of etcd's true history."""

    @property
    def generation(self) -> int:
        """The number of the current one, 0 at first."""

    def begin(self, since: int) -> int:
        """Begin the next generation, which keeps what happened up to `since`."""


class Judge(Protocol):
    """Who watches etcd itself, and must have seen what is about to be lost."""

    async def caught_up(self, revision: int) -> None:
        """Return when the history is complete up to `revision`."""

    async def compare_with_etcd(self) -> int:
        """Hold the history against what etcd holds now; how many keys that were."""


class Stage:
    """One cluster and one daemon, from `async with` to its end."""

    def __init__(self, cluster: GuardedCluster, history: History, judge: Judge, draw: random.Random) -> None:
        self.cluster = cluster
        self.history = history
        self.judge = judge
        self.version = cluster.members[0].version
        self.members = Members(cluster.members)
        self.writer = Writer(self.members, history, draw)
        self.users = Users(self.members, RANGE)
        self.road = [Road(member.port, tls=cluster.keyring is not None) for member in cluster.members]
        """What the daemon sees of the members, in their order."""
        self.peers: list[PeerProxy] = []
        """What the members see of each other."""
        self.daemon = Daemon(module=shifted.__name__)
        self.lives = Lives()
        self.compared = 0
        """Keys that the judge held against etcd's own word."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self.cluster.close)
            stack.callback(self.daemon.close)
            for proxy in self.road:
                await stack.enter_async_context(proxy)
            self.peers = await stack.enter_async_context(between(self.cluster))
            await stack.enter_async_context(self.members)
            for member in self.cluster.members:
                member.launch()
            await self.ready()
            await self.users.guard()
            await self.writer.mark(self.history.generation)
            self._configure()
            await self.start_daemon()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def keyring(self) -> Keyring:
        """The certificates of a stage with TLS."""
        assert self.cluster.keyring, "no stage with TLS"
        return self.cluster.keyring

    # The daemon

    async def start_daemon(self) -> None:
        """Start the daemon, and return when it answers."""
        self.daemon.launch()
        await self.until(self.status, PATIENCE)

    async def kill_daemon(self) -> None:
        """End the daemon at once."""
        await self.status()  # its last figures
        self.daemon.kill()

    async def status(self) -> dict[str, Any] | None:
        """What the daemon says about itself; None when it doesn't answer."""
        with suppress(OSError, CutError):
            status = await asyncio.to_thread(self.daemon.status)
            self.lives.seen(status)
            return status
        return None

    async def watched(self) -> int | None:
        """The index of the member that the daemon watches, or else asks; None when it does not answer."""
        if (status := await self.status()) is None:
            return None
        current = [e["url"] for e in status["etcd"]["endpoints"] if e["current"]]
        known = [status["ranges"][0]["endpoint"], *current]
        return next(i for url in known for i, proxy in enumerate(self.road) if proxy.url == url)

    async def recovered(self, patience: float = PATIENCE) -> float:
        """Wait until the daemon is live at etcd's head of now, with its files of now; the seconds it took."""
        began = monotonic()
        head = await self.members.revision()
        await self.until(partial(self.is_live_at, head), patience)
        await self.until(self.is_up_to_date, max(began + patience - monotonic(), ASK_AGAIN_SECONDS))
        return monotonic() - began

    async def is_live_at(self, head: int) -> bool:
        """Whether the daemon is live, and holds what etcd did up to that revision."""
        if (status := await self.status()) is None:
            return False
        held = status["ranges"][0]
        return bool(
            held["state"] == "live"
            and held["revision"] >= head
            # In another generation a revision means something else.
            and await self._generation() == self.history.generation
        )

    async def is_up_to_date(self) -> bool:
        """Whether the daemon uses the certificates that its files hold; without TLS there are none."""
        if self.cluster.keyring is None:
            return True
        status, files = await self.status(), self.keyring.daemon
        expected = ends(files.ca, "ca") | ends(files.certificate, "client")
        return status is not None and {end for end in known(status) if end[0] != "server"} == expected

    async def until(self, condition: Callable[[], Awaitable[object]], patience: float) -> None:
        """Wait until it is so; NotRecoveredError when that takes more than so many seconds."""
        try:
            async with asyncio.timeout(patience):
                while not await condition():  # noqa: ASYNC110 - it is another process that changes
                    await asyncio.sleep(ASK_AGAIN_SECONDS)
        except TimeoutError as error:
            raise NotRecoveredError(f"after {patience:g} s the daemon says: {await self.status()}") from error

    def tell_password(self) -> None:
        """Write the password of the daemon's user where the daemon will find it when it reloads."""
        self._password_file.touch(PRIVATE)
        self._password_file.write_text(self.users.password)

    def set_clock(self, seconds: int) -> None:
        """Have the daemon's wall clock be wrong by that much."""
        shifted.shift(self._clock_file, seconds)

    # The cluster

    async def ready(self) -> None:
        """Wait until all members serve."""
        for member in self.cluster.members:
            await asyncio.to_thread(member.wait_until_ready)

    async def begin_generation(
        self, since: int, replace: Callable[[Etcd], None], *, wiped: bool = False
    ) -> None:
        """Stop etcd, let `replace` do its work on every member's data, and go on with that.

        `since` is the last revision of the past that the new data shares. The daemon's road is closed until
        every group of keys says which generation it belongs to.
        """
        async with self.writer.paused():
            for proxy in self.road:
                proxy.refuse()
            # Asked for only now, so it is past whatever the daemon may have seen, expired leases included.
            await self.judge.caught_up(await self.members.revision())
            await self.compare()
            for member in self.cluster.members:
                member.kill()
            generation = self.history.begin(since)
            for member in self.cluster.members:
                await asyncio.to_thread(replace, member)
            for member in self.cluster.members:
                member.launch()
            await self.ready()
            if wiped:
                self.members.be(None)
                await self.users.guard()
            self.members.be(ROOT, ROOT_PASSWORD)
            await self.writer.mark(generation)
            for proxy in self.road:
                proxy.let_through()

    async def compare(self) -> None:
        """Have the judge hold its history against what etcd holds."""
        self.compared += await self.judge.compare_with_etcd()

    async def compact(self) -> int:
        """Forget all history before etcd's revision of now; that."""
        revision = await self.members.revision()
        await self.judge.caught_up(revision)
        await self.members.insist("/kv/compaction", {"revision": revision, "physical": True})
        return revision

    @property
    def cache(self) -> Path:
        """Where the daemon keeps its copy."""
        return self.daemon.directory / "cache"

    @property
    def _password_file(self) -> Path:
        return self.daemon.directory / "password"

    @property
    def _clock_file(self) -> Path:
        return self.daemon.directory / "clock"

    def _configure(self) -> None:
        daemon = self.daemon
        daemon.environment |= {"PYTHONPATH": str(REPOSITORY), shifted.VARIABLE: str(self._clock_file)}
        daemon.settings |= {
            "ranges": [{"prefix": RANGE.decode()}],
            "sync": {"page_bytes": PAGE_BYTES},
            "history": {"events": HISTORY_EVENTS},
            "cache": {"directory": str(self.cache)},
        }
        daemon.settings["etcd"] = {
            "endpoints": [proxy.url for proxy in self.road],
            "timeouts": {"heartbeat": f"{HEARTBEAT:g}s", "request": f"{REQUEST:g}s", "connect": "1s"},
            "user": USER,
            "password_file": str(self._password_file),
            "tls": self.keyring.settings if self.cluster.keyring else {},
        }
        daemon.write()
        self.tell_password()
        self.set_clock(0)

    async def _generation(self) -> int | None:
        """Which generation the daemon serves."""
        with suppress(OSError, CutError):
            answer = await asyncio.to_thread(self.daemon.ask, target("value", key=GROUPS[0] + b"!generation"))
            return int(answer.body) if answer.status == 200 else None
        return None
