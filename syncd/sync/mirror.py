"""One range, kept like etcd's for ever: read once, then watched; read again only when nothing else helps.

Nested, one concern each: `run` never ends (failures, back-off), `_read` takes in a full read, `_watch` lives
as long as one stream. What to do when is decided by the pure modules beside this one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from syncd.config import Config
from syncd.errors import SyncdError
from syncd.gateway import Gateway, Header, MalformedAnswer, Unreachable, WatchResult, WatchStream
from syncd.keyrange import KeyRange
from syncd.records import Event
from syncd.status import Counters, HistoryStatus, RangeStatus, State, Syncing
from syncd.store import Rebuild, Store
from syncd.sync.backoff import HEALTHY_AFTER, backoff
from syncd.sync.decide import (
    Lagging,
    OtherHistory,
    Overtaken,
    Reaction,
    catch_up_allowance,
    epoch_of,
    reaction,
)
from syncd.sync.fullread import full_read
from syncd.sync.heartbeat import Heartbeat, Proof, Tick
from syncd.sync.repeats import Repeats
from syncd.sync.revisions import Revisions
from syncd.sync.slices import Slices

PROGRESS_LOG_PAUSE = 5.0
"""Seconds between two lines in the log about a full read under way."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`now`: the event loop's, in seconds; `wall`: seconds since 1970."""

    now: Callable[[], float]
    wall: Callable[[], float]


class Mirror:
    """Keeps `store` what etcd holds in `keys`, and knows how well."""

    def __init__(
        self, keys: KeyRange, gateway: Gateway, config: Config, clocks: Clocks, draw: random.Random
    ) -> None:
        history = config.history
        self.store = Store(keys, history_events=history.events, history_bytes=history.bytes)
        self._keys = keys
        self._gateway = gateway
        self._page_bytes = config.sync.page_bytes
        self._interval = config.etcd.timeouts.heartbeat
        self._patience = config.etcd.timeouts.request
        self._clocks = clocks
        self._draw = draw
        self._log = structlog.get_logger("syncd.sync").bind(range=keys.name)
        self._repeats = Repeats(clocks.now)
        self._events_applied = 0
        self._full_reads: Counter[str] = Counter()
        self._watch_reconnects: Counter[str] = Counter()
        self._etcd_at = 0
        self._doubtful = False
        """Whether etcd was out of sight since its state was last compared with what is held."""
        self._opened = False
        self._proved_at: float | None = None
        self._read_took = 0.0
        self._syncing: Syncing | None = None
        self._error: str | None = None
        self._stream: WatchStream | None = None
        self._heartbeat: Heartbeat | None = None

    def freshness(self) -> tuple[State, float | None]:
        """Its state, and the seconds since its last proof (None: never)."""
        age = None if self._proved_at is None else max(self._clocks.now() - self._proved_at, 0.0)
        if not self.store.ready:
            return "cold", age
        return "live" if self._stream and age is not None and age <= self._interval else "stale", age

    def status(self) -> RangeStatus:
        """How the range is doing now."""
        store, stream = self.store, self._stream
        state, age = self.freshness()
        history = HistoryStatus(store.history.events, store.history.size, store.history.oldest_revision)
        return RangeStatus(
            range=self._keys.name,
            state=state,
            revision=store.revision,
            epoch=store.epoch,
            age=age,
            lag=max(self._etcd_at - store.revision, 0),
            keys=store.count,
            bytes=store.size,
            syncing=self._syncing,
            endpoint=stream.url if stream else None,
            duplex=stream.duplex if stream else None,
            error=self._error,
            history=history,
            counters=Counters(self._events_applied, dict(self._full_reads), dict(self._watch_reconnects)),
        )

    async def etcd_revision(self) -> int:
        """etcd's revision now, linearizable; SyncdError when it cannot be had, or is of another history."""
        header = await self._gateway.revision(self._keys)
        if self._epoch_of(header) != self.store.epoch:
            raise self._other_history(header)
        return header.revision

    def hurry(self) -> None:
        """Somebody waits for the store to move: ask for a proof now instead of at the next heartbeat."""
        if self._stream and self._heartbeat and self._heartbeat.ask(self._clocks.now()) is Tick.ASK:
            self._stream.request_progress()

    async def run(self) -> None:
        """Mirror until cancelled."""
        delays = backoff(self._draw)
        reread = None if self.store.ready else "initial"
        began = self._clocks.now()
        while True:
            self._opened = False
            try:
                if reread:
                    await self._read(reread)
                    reread = None
                await self._watch()
            except SyncdError as error:
                task = asyncio.current_task()
                if task and task.cancelling():
                    # Cancelled in the same turn in which a page failed: before 3.13 a TaskGroup forgets that.
                    raise asyncio.CancelledError from error
                decided = reaction(error)
                if decided.reread and reread != "initial":
                    # One that has to begin again is still the same, unless etcd turned out to be another.
                    reread = "epoch" if "epoch" in (reread, decided.reason) else reread or decided.reason
                self._doubtful = True
                if self._clocks.now() - began > HEALTHY_AFTER:
                    delays = backoff(self._draw)
                pause = next(delays)
                self._failed(error, decided, pause)
                await asyncio.sleep(pause)
                began = self._clocks.now()
            else:
                self._watch_reconnects["reopened"] += 1

    async def _read(self, reason: str) -> None:
        began = said = self._clocks.now()

        def begin(header: Header) -> Rebuild:
            return self.store.rebuild(header.revision, self._epoch_of(header, other=reason == "epoch"))

        def progress(keys: int, count: int) -> None:
            nonlocal said
            self._syncing = Syncing(keys, count, reason)
            if self._clocks.now() - said > PROGRESS_LOG_PAUSE:
                said = self._clocks.now()
                self._log.info("reading", keys=keys, count=count, reason=reason)

        self._syncing = Syncing(0, None, reason)
        try:
            slices = Slices(self._clocks.now)
            rebuild = await full_read(self._gateway, self._keys, self._page_bytes, begin, progress, slices)
            changed = self.store.commit(rebuild)
        finally:
            self._syncing = None
        self._proved_at, self._etcd_at, self._doubtful = began, self.store.revision, False
        replaced = rebuild.old.blocks.copy()
        del rebuild
        while replaced:  # freeing half a million values at once would take 50 ms
            replaced.pop()
            await slices.breath()
        self._read_took = self._clocks.now() - began
        self._full_reads[reason] += 1
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
        store, now = self.store, self._clocks.now
        # From the revision held, not from the one after it, though what is held comes once more then. A watch
        # that starts in the future gets no progress answer before something is written (seen on 3.5.30); and
        # one that starts at the very revision that was compacted misses its deletes (seen up to 3.5.1).
        async with self._gateway.watch(self._keys, store.revision) as stream:
            header = await self._created(stream)
            await self._same_history(stream, header)
            if self._doubtful:
                await self._same_state()
                self._doubtful = False
            heartbeat = Heartbeat(
                now(), self._interval, behind=header.revision - store.revision, duplex=stream.duplex
            )
            self._stream, self._heartbeat = stream, heartbeat
            self._opened, self._error = True, None
            self._log.debug("watching", endpoint=stream.url, revision=store.revision, duplex=stream.duplex)
            try:
                await self._follow(stream, heartbeat, header.revision)
            finally:
                self._stream = self._heartbeat = None

    async def _follow(self, stream: WatchStream, heartbeat: Heartbeat, opened_at_revision: int) -> None:
        now, opened = self._clocks.now, self._clocks.now()
        held = self.store.revision
        revisions = Revisions(held)
        slices = Slices(now)
        allowance = catch_up_allowance(self._read_took)
        while True:
            result = await self._next(stream, heartbeat)
            if result is None:
                return
            self._etcd_at = max(self._etcd_at, result.header.revision)
            if result.events:
                events = [
                    Event(event.kv, deleted=event.type == "DELETE")
                    for event in result.events
                    if event.kv.mod_revision > held
                ]
                for revision, changes in revisions.add(events, fragment=result.fragment):
                    self.store.apply(revision, changes)
                    self._events_applied += len(changes)
                    await slices.breath()
                newest = self.store.revision
                self._proved(heartbeat.events(now(), newest, caught_up=newest >= opened_at_revision))
                if heartbeat.behind and now() - opened > allowance:
                    raise Overtaken(
                        f"at revision {newest} of {opened_at_revision} after {now() - opened:.1f} s; "
                        f"reading everything takes {self._read_took:.1f} s"
                    )
            elif result.is_progress:
                synchronised = stream.is_synchronised(result)
                asked, revision = result.was_asked_for, result.header.revision
                self._proved(heartbeat.answer(now(), revision, synchronised=synchronised, asked=asked))
            else:
                heartbeat.heard(now())

    async def _next(self, stream: WatchStream, heartbeat: Heartbeat) -> WatchResult | None:
        """The stream's next result; None when it is time to open another stream."""
        now = self._clocks.now
        while True:
            if now() >= heartbeat.next:
                due = heartbeat.tick(now())
                if due is Tick.REOPEN:
                    return None
                if due is Tick.SILENT:
                    raise Unreachable(stream.url, f"the watch is silent; {self._interval:g} s are the limit")
                if due is Tick.ASK:
                    stream.request_progress()
            try:
                async with asyncio.timeout(heartbeat.next - now()):
                    return await anext(stream)
            except TimeoutError:
                continue

    async def _created(self, stream: WatchStream) -> Header:
        try:
            async with asyncio.timeout(self._patience):
                result = await anext(stream)
        except TimeoutError as error:
            raise Unreachable(stream.url, f"the watch did not begin within {self._patience:g} s") from error
        if not result.created:
            raise MalformedAnswer(stream.url, "a watch does not begin with `created`")
        return result.header

    async def _same_history(self, stream: WatchStream, header: Header) -> None:
        """Refuse to watch where etcd's revisions are not a continuation of those held.

        etcd accepts a start_revision in the future silently: that is how a wiped or restored etcd looks, and
        also a member that lags. A linearizable read tells them apart.
        """
        store = self.store
        if self._epoch_of(header) == store.epoch:
            return
        current = await self._gateway.revision(self._keys)
        if self._epoch_of(current) == store.epoch:
            self._gateway.avoid(stream.url)
            raise Lagging(
                f"{stream.url}: at revision {header.revision}, but {store.revision} was seen already"
            )
        raise self._other_history(current)

    async def _same_state(self) -> None:
        """After an outage: refuse to go on when etcd, at the revision held, does not hold what is held.

        An etcd that was wiped keeps its cluster id, and one that was filled anew since may be past the
        revision held: only its keys tell. One is asked for, the newest, or whether there is any.
        """
        store = self.store
        witness = store.witness()
        keys = KeyRange(witness.key) if witness else self._keys
        page = await self._gateway.range_page(keys, limit=1, revision=store.revision)
        if page.records() != ([witness] if witness else []):
            raise self._other_history(page.header)

    def _epoch_of(self, header: Header, *, other: bool = False) -> str:
        return epoch_of(header, self.store.epoch, self.store.revision, self._clocks.wall(), other=other)

    def _other_history(self, header: Header) -> OtherHistory:
        return OtherHistory(
            f"cluster {header.cluster_id:x} at revision {header.revision} does not continue "
            f"{self.store.epoch} at revision {self.store.revision}; was etcd wiped, restored or replaced?"
        )

    def _proved(self, proof: Proof | None) -> None:
        if proof is None:
            return
        self.store.advance(proof.revision)
        self._proved_at = max(self._proved_at or 0.0, proof.asked)
        if self._repeats.forget():
            self._log.info("live", revision=self.store.revision, endpoint=self._stream and self._stream.url)

    def _failed(self, error: SyncdError, decided: Reaction, pause: float) -> None:
        self._error = str(error)
        if self._opened:
            self._watch_reconnects[decided.reason] += 1
        repeated = self._repeats.worth_saying(decided.reason)
        if repeated is not None:
            self._log.warning(
                "etcd lost",
                reason=decided.reason,
                error=str(error),
                next="read again" if decided.reread else "resume",
                serving=f"revision {self.store.revision}" if self.store.ready else "nothing yet",
                pause=round(pause, 3),
                repeated=repeated,
            )
