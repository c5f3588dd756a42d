"""One watch stream, followed: what it brings goes into the store, and etcd is asked what that proves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from syncd.gateway import Gateway, Unavailable, Unreachable, WatchResult, WatchStream
from syncd.records import Event
from syncd.store import Store
from syncd.sync.decide import Overtaken, catch_up_allowance, continues, other_history
from syncd.sync.guard import Guard
from syncd.sync.heartbeat import Heartbeat, Tick
from syncd.sync.revisions import Revisions
from syncd.sync.slices import Slices
from syncd.sync.standing import Standing
from syncd.sync.tasks import plain_errors


class _Reopen(Exception):
    """It is time for another stream.

    Raised, as a task group must not be left by the end of its block here: a task that fails just then would
    leave this one cancelled for ever (before 3.13), and whoever is above would take that for its own end.
    """


class Follower:
    """Follows `stream`, opened when etcd was at `opened_at`, on from what `store` holds.

    `proved` is told each moment as of which the store is known to be current, `usual` each time how long etcd
    took to read one key. `interval` is the heartbeat's in seconds, `read_took` what the last full read took.
    """

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        stream: WatchStream,
        standing: Standing,
        now: Callable[[], float],
        proved: Callable[[float], None],
        usual: Callable[[float], None],
        *,
        guard: Guard,
        opened_at: int,
        interval: float,
        read_took: float,
    ) -> None:
        self._store = store
        self._guard = guard
        self._gateway = gateway
        self.stream = stream
        self._standing = standing
        self._now = now
        self._proved = proved
        self._usual = usual
        self._opened_at = opened_at
        self._interval = interval
        self._read_took = read_took
        self._heartbeat = Heartbeat(
            now(),
            interval,
            behind=opened_at - store.revision,
            duplex=stream.duplex,
            synchronised=stream.synchronised,
        )
        self._hurried = False
        self._woken = asyncio.Event()
        self._confirmed_at = now()
        self._unfinished = 0

    def hurry(self) -> None:
        """Somebody waits for the store to move: ask now instead of at the next heartbeat."""
        self._hurried = True
        self._woken.set()

    def confirmed(self, asked: float, revision: int) -> None:
        """etcd was at `revision` at the moment `asked`; a linearizable answer said so."""
        self._standing.heard_of(revision)
        self._heartbeat.confirmed(asked, revision)
        self._settle()

    async def run(self) -> None:
        """Until the stream fails, by raising; or until it is time to open another."""
        with plain_errors():
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._take_in(), name=f"watch of {self._store.keys.name}")
                    await self._ask()
            except* _Reopen:
                pass

    async def _take_in(self) -> None:
        held = self._store.revision
        revisions = Revisions(held)
        slices = Slices(self._now)
        opened = self._now()
        allowance = catch_up_allowance(self._read_took)
        async for result in self.stream:
            self._standing.heard_of(result.header.revision)
            if result.events:
                await self._apply(result, revisions, held, slices)
                taken = self._now() - opened
                if self._heartbeat.behind and taken > allowance:
                    raise Overtaken(
                        f"at revision {self._store.revision} of {self._opened_at} after {taken:.1f} s; "
                        f"reading everything takes {self._read_took:.1f} s"
                    )
            elif result.is_progress:
                self._progress(result)
            else:
                self._heartbeat.heard(self._now())

    async def _apply(self, result: WatchResult, revisions: Revisions, held: int, slices: Slices) -> None:
        # The stream begins at the revision held, so what is held comes once more.
        events = [
            Event(event.kv, deleted=event.type == "DELETE")
            for event in result.events
            if event.kv.mod_revision > held
        ]
        for revision, changes in revisions.add(events, fragment=result.fragment):
            if self._guard.on:
                self._guard.check(self._now(), self._store.count + _growth(changes), revision)
            self._store.apply(revision, changes)
            self._guard.counted(self._now(), self._store.count)
            self._standing.events_applied += len(changes)
            await slices.breath()
        newest = self._store.revision
        self._heartbeat.events(self._now(), newest, caught_up=newest >= self._opened_at)
        self._settle()

    def _progress(self, result: WatchResult) -> None:
        complete = self._heartbeat.answer(self._now(), result.header.revision)
        if complete is not None:
            self._store.advance(complete)
            self._settle()
        self._woken.set()  # the next question may be due earlier now

    def _settle(self) -> None:
        proved = self._heartbeat.proved(self._store.revision)
        if proved is not None:
            self._standing.well()
            self._proved(proved)

    async def _ask(self) -> NoReturn:
        """Ask whenever it is time, until it is time for another stream."""
        while True:
            # A large document on a slow road is no silence.
            before, self._unfinished = self._unfinished, self.stream.unfinished
            if self._unfinished > before:
                self._heartbeat.flows(self._now())
            due = self._heartbeat.tick(self._now())
            if due is Tick.REOPEN or self._gateway.outdated(self.stream):
                raise _Reopen
            if due is Tick.SILENT:
                raise Unreachable(self.stream.url, f"the watch is silent; {self._interval:g} s are the limit")
            self._hurried = False
            if await self._confirm():
                self._explain()
            if due is Tick.COMPARE:
                await self._compare()
            if self._heartbeat.ask(self._now()):
                self.stream.request_progress()
            await self._rest()

    async def _rest(self) -> None:
        """Wait until it is time to ask again, or somebody is in a hurry."""
        while not self._hurried and (left := self._heartbeat.next - self._now()) > 0:
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._woken.wait()

    def _explain(self) -> None:
        """Say why the range is not proved current, when etcd answers."""
        overdue = self._heartbeat.overdue(self._now())
        if overdue is not None:
            part = f"; {self._unfinished} bytes of a document have come" if self._unfinished else ""
            self._standing.error = (
                f"{self.stream.url}: for {overdue:.1f} s the watch has not come to where etcd is{part}"
            )

    async def _confirm(self) -> bool:
        """Ask the member that the stream comes from where etcd is; whether it answered.

        One that does not answer for etcd is left when there is another. If not, the stream is kept as long as
        it lives: what it brings is right, though nobody knows how current that is.
        """
        url, store, asked = self.stream.url, self._store, self._now()
        epoch, held = store.epoch, store.revision
        try:
            header = await self._gateway.revision(store.keys, url, within=self._interval / 2)
        except (Unreachable, Unavailable) as error:
            # Once is no reason: an election, or an idle connection that was closed.
            if self._now() - self._confirmed_at >= self._interval:
                if self._gateway.elsewhere(url):
                    raise
                self._standing.failed(error)
            return False
        if not continues(header, epoch, held):
            raise other_history(header, epoch, held)
        self._confirmed_at = asked
        self._usual(self._now() - asked)
        self.confirmed(asked, header.revision)
        return True

    async def _compare(self) -> None:
        """Ask whether the range is still what is held."""
        store, asked = self._store, self._now()
        epoch, held, count = store.epoch, store.revision, store.count
        try:
            page = await self._gateway.changes(store.keys, held, self.stream.url, within=self._interval)
        except (Unreachable, Unavailable):
            return  # it may just be too much for etcd; whether the member is well, its revision tells
        finally:
            self._heartbeat.comparing(asked, self._now())
        if not continues(page.header, epoch, held):
            raise other_history(page.header, epoch, held)
        if store.revision > held:
            return  # the stream was quicker
        if len(page) > 0 or page.count != count:
            self._heartbeat.changed(self._now())
            return
        complete = self._heartbeat.unchanged(asked, self._now(), page.header.revision)
        if complete is not None:
            store.advance(complete)
        self.confirmed(asked, page.header.revision)


def _growth(changes: Sequence[Event]) -> int:
    """How many keys more there are after `changes`."""
    return sum(-1 if change.deleted else change.kv.version == 1 for change in changes)
