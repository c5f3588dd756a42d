"""One range, kept like etcd's for ever: read once, then watched; read again only when nothing else helps.

Nested, one concern each: `_keep` never ends (failures, back-off), `_read` takes in a full read, `_watch`
lives as long as one stream. What to do when is decided by the pure modules beside this one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog

from syncd.config import Config
from syncd.errors import SyncdError
from syncd.gateway import Gateway, Header, MalformedAnswer, Unreachable, WatchStream
from syncd.status import Counters, HistoryStatus, RangeStatus, State, Syncing
from syncd.store import Rebuild, Store
from syncd.sync.continuity import same_history, same_state
from syncd.sync.decide import continues, new_epoch, other_history
from syncd.sync.follow import Follower
from syncd.sync.fullread import full_read
from syncd.sync.guard import Guard, Shrunk
from syncd.sync.hold import Hold
from syncd.sync.recovery import Plan, Recovery
from syncd.sync.repeats import Repeats
from syncd.sync.rounds import Rounds
from syncd.sync.slices import Slices
from syncd.sync.standing import Standing
from syncd.sync.tasks import plain_errors
from syncd.sync.turns import Turns

COMPARE_FREELY = 10_000
"""Keys that etcd looks at within 10 ms; above, daemons take turns at having their state compared."""

PROGRESS_LOG_PAUSE = 5.0
"""Seconds between two lines in the log about a full read under way."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`now`: the event loop's, in seconds; `wall`: seconds since 1970."""

    now: Callable[[], float]
    wall: Callable[[], float]


class Mirror:
    """Keeps `store` what etcd holds in its range, and knows how well.

    What the store has already is served, was proved last at `proved_at` (None: not known), and to read it
    took `read_took` seconds. `trouble` is told each error that keeps the store from being proved, and None
    when all is well again.
    """

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        config: Config,
        clocks: Clocks,
        draw: random.Random,
        trouble: Callable[[SyncdError | None], None] = lambda _: None,
        proved_at: float | None = None,
        read_took: float = 0.0,
    ) -> None:
        self.store = store
        self._keys = keys = store.keys
        self._gateway = gateway
        self._page_bytes = config.sync.page_bytes
        self._interval = config.etcd.timeouts.heartbeat
        self._patience = config.etcd.timeouts.request
        self._clocks = clocks
        self._log = structlog.get_logger("syncd.sync").bind(range=keys.name)
        self._repeats = Repeats(clocks.now)
        self._turns = Turns(draw)
        self._recovery = Recovery(draw, self._interval, self._turns)
        self._standing = Standing(trouble, proved_at)
        self._warm = store.ready
        """Whether what was there at the start is neither proved yet, nor could not be."""
        self.confirmed = False
        """Whether what is held, or was, has been proved since the start."""
        self._doubtful = store.ready
        """Whether etcd was out of sight since its state was last compared with what is held."""
        self._guard = Guard(config.guards.get(keys))
        self._guard.begin(store.count)
        self._hold = Hold(keys, gateway, self._guard, self._standing, clocks.now, draw)
        self._read_took = read_took
        self._follower: Follower | None = None
        self._watching = False
        """Whether the last stream has not failed; one that is opened anew as planned is none the less."""
        self._questions = Rounds(self._etcd_revision)
        self._opened = False
        """Whether the last failure, or the next, is that of a stream."""

    def freshness(self) -> tuple[State, float | None]:
        """Its state, and the seconds since its last proof (None: never)."""
        age = self._standing.age(self._clocks.now())
        if not self.store.ready:
            return "cold", age
        if self._warm:
            return "warm", age
        return "live" if self._watching and age is not None and age <= self._interval else "stale", age

    @property
    def read_took(self) -> float:
        """Seconds of the last full read."""
        return self._read_took

    def status(self) -> RangeStatus:
        """How the range is doing now."""
        store, standing = self.store, self._standing
        stream = self._follower.stream if self._follower else None
        state, age = self.freshness()
        return RangeStatus(
            range=self._keys.name,
            state=state,
            revision=store.revision,
            epoch=store.epoch,
            age=age,
            lag=max(standing.etcd_revision - store.revision, 0),
            keys=store.count,
            bytes=store.size,
            syncing=standing.syncing,
            endpoint=stream.url if stream else None,
            duplex=stream.duplex if stream else None,
            error=standing.error,
            history=HistoryStatus(store.history.events, store.history.size, store.history.oldest_revision),
            counters=Counters(
                standing.events_applied, dict(standing.full_reads), dict(standing.watch_reconnects)
            ),
            held=self._hold.status(),
        )

    def etcd_revision(self) -> asyncio.Future[int]:
        """etcd's revision now, linearizable; SyncdError when it cannot be had, or is of another history.

        However many ask for it, etcd is asked once at a time.
        """
        return self._questions.answer()

    async def _etcd_revision(self) -> int:
        asked, epoch, held = self._clocks.now(), self.store.epoch, self.store.revision
        header = await self._gateway.revision(self._keys)
        if epoch and not (continues(header, epoch, held) and epoch == self.store.epoch):
            raise other_history(header, epoch, held)
        if self._follower:
            self._follower.confirmed(asked, header.revision)
        return header.revision

    def accept(self) -> bool:
        """Follow etcd, though much would be gone; whether that was held back."""
        return self._hold.accept()

    def hurry(self) -> None:
        """Somebody waits for the store to move: ask for a proof now instead of at the next heartbeat."""
        if self._follower:
            self._follower.hurry()

    async def run(self) -> None:
        """Mirror until cancelled."""
        with plain_errors():
            async with asyncio.TaskGroup() as group:
                group.create_task(self._questions.run(), name=f"questions about {self._keys.name}")
                await self._keep()

    async def _keep(self) -> NoReturn:
        recovery = self._recovery
        if self.store.ready:
            recovery.read()
        while True:
            self._opened = False
            try:
                if recovery.reread:
                    await self._turn(recovery.reread)
                    await self._read(recovery.reread)
                    recovery.read()
                await self._watch()
            except SyncdError as error:
                task = asyncio.current_task()
                if task and task.cancelling():
                    # Cancelled in the same turn in which a task failed: before 3.13 a TaskGroup forgets that.
                    raise asyncio.CancelledError from error
                plan = recovery.failed(error, self._read_took)
                self._doubtful = True
                self._failed(error, plan)
                if isinstance(error, Shrunk):
                    await self._hold.wait(error, self.store.revision, look_now=self._opened)
                else:
                    self._say(error, plan)
                    await (asyncio.sleep(plan.pause) if plan.in_turn else self._gateway.pause(plan.pause))
            else:
                self._standing.watch_reconnects["reopened"] += 1

    async def _turn(self, reason: str) -> None:
        """Wait until etcd is quiet enough for one full read more."""
        await self._gateway.revision(self._keys)  # connects, and finds out who answers there
        while True:
            asked = self._clocks.now()
            await self._gateway.revision(self._keys)
            took = self._clocks.now() - asked
            pause = self._turns.listened(took, self._gateway.road)
            if pause is None:
                self._standing.error = None
                return
            self._standing.error = f"etcd is busy: it took {took:.2f} s to read one key; the range must wait"
            if self._repeats.worth_saying("busy") is not None:
                self._log.warning("etcd busy", reason=reason, took=round(took, 3), pause=round(pause, 3))
            await asyncio.sleep(pause)

    async def _read(self, reason: str) -> None:
        standing = self._standing
        began = said = self._clocks.now()

        def begin(header: Header) -> Rebuild:
            store = self.store
            if reason != "epoch" and continues(header, store.epoch, store.revision):
                return store.rebuild(header.revision, store.epoch)
            return store.rebuild(header.revision, new_epoch(header, self._clocks.wall()))

        def progress(keys: int, count: int) -> None:
            nonlocal said
            standing.syncing = Syncing(keys, count, reason)
            if self._clocks.now() - said > PROGRESS_LOG_PAUSE:
                said = self._clocks.now()
                self._log.info("reading", keys=keys, count=count, reason=reason)

        standing.syncing = Syncing(0, None, reason)
        try:
            slices = Slices(self._clocks.now)
            rebuild = await full_read(self._gateway, self._keys, self._page_bytes, begin, progress, slices)
            standing.full_reads[reason] += 1
            # Others in the place of those that are gone are no comfort, but what was accepted is a number.
            gone = sum(event.deleted for event in rebuild.events)
            left = rebuild.count if self._hold.accepted else self.store.count - gone
            self._guard.check(self._clocks.now(), left, rebuild.revision)
            changed = self.store.commit(rebuild)
        finally:
            standing.syncing = None
        self._guard.counted(self._clocks.now(), self.store.count)
        self._hold.over()
        standing.proved_at, standing.etcd_revision = began, self.store.revision
        self._warm = self._doubtful = False
        self.confirmed = True
        standing.well()
        replaced = rebuild.old.blocks.copy()
        del rebuild
        while replaced:  # freeing half a million values at once would take 50 ms
            replaced.pop()
            await slices.breath()
        self._read_took = self._clocks.now() - began
        self._turns.taken()
        self._log.info(
            "read",
            reason=reason,
            keys=self.store.count,
            bytes=self.store.size,
            revision=self.store.revision,
            epoch=self.store.epoch,
            seconds=round(self._read_took, 3),
            changed=len(changed.events) if changed else 0,
        )

    async def _watch(self) -> None:
        """Follow one stream: until it fails, by raising; or until it is time to open it anew."""
        store = self.store
        if self._doubtful:
            if store.count > COMPARE_FREELY:
                await self._turn("compare")
            await same_state(self._gateway, store, Slices(self._clocks.now))
            if self._guard.on:  # the stream would tell what went meanwhile one by one
                page = await self._gateway.count(self._keys)
                self._guard.check(self._clocks.now(), page.count, page.header.revision)
            self._turns.taken()
            self._doubtful = False
        # From the revision held, not from the one after it, though what is held comes once more then. A watch
        # that starts in the future gets no progress answer before something is written (seen on 3.5.30); and
        # one that starts at the very revision that was compacted misses its deletes (seen up to 3.5.1).
        async with self._gateway.watch(self._keys, store.revision) as stream:
            header = await self._created(stream)
            await same_history(self._gateway, store, stream.url, header)
            self._follower = Follower(
                store,
                self._gateway,
                stream,
                self._standing,
                self._clocks.now,
                self._proved,
                self._turns.usual,
                guard=self._guard,
                opened_at=header.revision,
                interval=self._interval,
                read_took=self._read_took,
            )
            self._opened = self._watching = True
            self._log.debug("watching", endpoint=stream.url, revision=store.revision, duplex=stream.duplex)
            try:
                await self._follower.run()
            finally:
                self._follower = None

    async def _created(self, stream: WatchStream) -> Header:
        try:
            async with asyncio.timeout(self._patience):
                result = await anext(stream)
        except TimeoutError as error:
            raise Unreachable(stream.url, f"the watch did not begin within {self._patience:g} s") from error
        if not result.created:
            raise MalformedAnswer(stream.url, "a watch does not begin with `created`")
        return result.header

    def _proved(self, at: float) -> None:
        """The store is current as of `at`."""
        self._standing.proved_at = max(self._standing.proved_at or at, at)
        self._warm = False
        self.confirmed = True
        self._recovery.healthy(self._clocks.now())
        if self._repeats.forget():
            follower = self._follower
            self._log.info("live", revision=self.store.revision, endpoint=follower and follower.stream.url)

    def _failed(self, error: SyncdError, plan: Plan) -> None:
        self._watching = self._warm = False
        if self._opened:
            self._standing.watch_reconnects[plan.reason] += 1
        if isinstance(error, Shrunk):
            self._standing.well()  # etcd answers, that is
        self._standing.failed(error)

    def _say(self, error: SyncdError, plan: Plan) -> None:
        repeated = self._repeats.worth_saying(plan.reason)
        if repeated is not None:
            self._log.warning(
                "etcd lost",
                reason=plan.reason,
                error=str(error),
                next="read again" if plan.reread else "resume",
                serving=f"revision {self.store.revision}" if self.store.ready else "nothing yet",
                pause=round(plan.pause, 3),
                repeated=repeated,
            )
