"""Follows one range's store, and has its file written: a moment after changes, many at once, by a thread.

The event loop only collects what has changed, which are references; encoding and writing are the thread's,
and LMDB lets go of the interpreter while it works. Whatever goes wrong there, the range is served from
memory, and the file is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from math import inf
from typing import TypeVar

import lmdb
import structlog
from msgspec.structs import replace

from syncd.cache.directory import RangeFiles
from syncd.cache.errors import CacheError, Unusable, not_written
from syncd.cache.file import SWEEP_BYTES, SWEEP_EVENTS, Change, File
from syncd.cache.proofs import proof_of
from syncd.records import Batch
from syncd.status import CacheStatus
from syncd.store import Store
from syncd.store.history import cost

GATHER = 0.2
"""Seconds from a change to its commit, so that many are committed together, and readers are told first. What
a crash may cost; etcd tells it again."""

PROOF_EVERY = 30.0
"""Seconds between commits when nothing changes, for the age and the revision of a quiet range: after a crash
it is taken for so much older, and is that further from what etcd has compacted."""

FIRST_PROOF = 1.0
"""Seconds between looks for the first one."""

PENDING_EVENTS = 100_000
PENDING_BYTES = 64 << 20
"""Of events to be written; of more, as when a disk hangs, it is cheaper to write everything anew."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until a failure is followed by another try, doubled each time."""

READ_BATCHES = 256

HANGS = 60.0
"""Seconds after which a commit is told to hang; each waits for the disk."""

SAY_AGAIN = 600.0
"""Seconds until the log tells a failure that lasts once more."""


Result = TypeVar("Result")


class Keeper:
    """Keeps a copy of `store` in `files`; `age` tells the seconds since it was last proved current.

    `kept`: what the store holds is there already. `read_took` tells the seconds of the last full read. All
    keepers have one and the same `thread`.
    """

    def __init__(
        self,
        store: Store,
        files: RangeFiles,
        thread: Executor,
        age: Callable[[], float | None],
        clock: Callable[[], float],
        *,
        kept: bool,
        read_took: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._store = store
        self._files = files
        self._thread = thread
        self._age = age
        self._clock = clock
        self._read_took = read_took
        self._started = clock()
        self._log = structlog.get_logger("syncd.cache").bind(range=store.keys.name)
        self._file: File | None = None
        self._cursor = store.cursor(store.keys)
        self._pending: list[Batch] = []
        self._pending_events = self._pending_bytes = 0
        self._anew = not kept
        """Whether the file, if there is one, cannot be gone on with."""
        self._moved = asyncio.Event()
        self._stopping = asyncio.Event()
        self._writing_since: float | None = None
        self._retry = RETRY_FIRST
        self._said_at = -inf
        self._status = CacheStatus(revision=store.revision if kept else 0, bytes=files.size())

    def status(self) -> CacheStatus:
        """How the copy is doing."""
        began = self._writing_since
        if began is not None and (seconds := self._clock() - began) > HANGS:
            return replace(self._status, error=f"the disk does not answer: it is written for {seconds:.0f} s")
        return self._status

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()
        self._moved.set()

    async def run(self) -> None:
        """Until `stop`; what is there then, and when it was proved, is written before it returns."""
        unsubscribe = self._store.subscribe(self._collect)
        self._collect()
        try:
            last = False
            while not last:
                await self._due()
                last = self._stopping.is_set()
                if not await self._save():
                    await self._pause(self._retry)
                    self._retry = min(2 * self._retry, RETRY_MOST)
        finally:
            unsubscribe()
            if self._file:
                await self._in_thread(self._file.close)

    def _collect(self) -> None:
        while not (self._anew or self._cursor.at_end):
            for batch in self._cursor.read(READ_BATCHES):
                self._pending.append(batch)
                self._pending_events += len(batch.events)
                self._pending_bytes += sum(map(cost, batch.events))
                if (
                    batch.resync  # the whole state has changed, perhaps; and the journal does not lead there
                    or self._pending_events > PENDING_EVENTS
                    or self._pending_bytes > PENDING_BYTES
                ):
                    self._anew = True
        if self._anew:
            self._forget_pending()
        self._moved.set()

    def _forget_pending(self) -> None:
        self._pending, self._pending_events, self._pending_bytes = [], 0, 0

    async def _due(self) -> None:
        """Return when it is time to write, or to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PROOF_EVERY):
                while not (self._stopping.is_set() or self._behind()):
                    self._moved.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if self._file else FIRST_PROOF):
                            await self._moved.wait()
        await self._pause(GATHER)

    def _behind(self) -> bool:
        if not self._store.ready or self._anew:
            return self._store.ready
        if self._file is None:
            # The first proof of this process is kept at once: it may be one that dies every minute.
            age = self._age()
            return bool(self._pending) or (age is not None and age < self._clock() - self._started)
        return bool(self._pending) or self._file.sweeping

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _save(self) -> bool:
        """Have everything written; whether that was possible."""
        if not self._store.ready:
            return True
        anew = self._anew or self._file is None
        change = self._take_change(anew=anew)
        began = self._clock()
        try:
            size, wasteful = await self._in_thread(partial(self._write, change, anew=anew))
        except CacheError as error:
            self._failed(error)
            return False
        except (lmdb.Error, OSError) as error:
            self._failed(not_written(self._files.directory.path, error))
            return False
        except Exception as error:  # noqa: BLE001 - without a copy, the daemon still does its work
            self._log.exception("the copy failed", meaning="this is a fault of syncd, or it has no memory")
            self._failed(Unusable(self._files.directory.path, f"it cannot be written: {error!r}"))
            return False
        if self._status.error:
            self._log.info("cache works again", revision=change.revision)
        elif anew:
            self._log.info("cache written", bytes=size, seconds=round(self._clock() - began, 3))
        self._status = CacheStatus(
            revision=change.revision,
            bytes=size,
            commits=self._status.commits + 1,
            failures=self._status.failures,
        )
        self._retry, self._said_at = RETRY_FIRST, -inf
        self._anew = self._anew or wasteful
        return True

    def _failed(self, error: CacheError) -> None:
        self._anew, self._file = True, None
        self._forget_pending()
        self._status = replace(self._status, error=str(error), failures=self._status.failures + 1)
        if self._clock() - self._said_at >= SAY_AGAIN:
            self._said_at = self._clock()
            self._log.error(
                "cache not written",
                code=error.code,
                error=str(error),
                saved_revision=self._status.revision,
                meaning="the range is served from memory; a restart would begin with what was written before",
            )

    def _take_change(self, *, anew: bool) -> Change:
        store = self._store
        batches, oldest_revision = self._pending, 0
        if anew:
            batches, oldest_revision = store.history.tail(SWEEP_EVENTS, SWEEP_BYTES)
            self._cursor = store.cursor(store.keys)
        self._forget_pending()
        self._anew = False
        return Change(
            epoch=store.epoch,
            revision=store.revision,
            changed_revision=store.changed_revision,
            changed_keys=store.changed_keys,
            count=store.count,
            proof=proof_of(self._age()),
            read_took=self._read_took(),
            blocks=store.view().blocks,
            size=store.size,
            batches=batches,
            oldest_revision=oldest_revision,
        )

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        self._writing_since = self._clock()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._writing_since = None

    def _write(self, change: Change, *, anew: bool) -> tuple[int, bool]:
        """Runs in the thread, as all that touches the file; bytes on disk, and whether fewer would do."""
        file = self._file
        try:
            if file and not anew:
                file.commit(change)
            else:
                self._files.drop_drafts()
                journal = sum(cost(event) for batch in change.batches for event in batch.events)
                self._files.must_have_room(change.size + journal)
                if file:
                    file.close()
                self._file = file = File(self._files.next(), self._store.keys, change)
                self._files.replaced_by(file.path)
            # Where there is no room for two, a wasteful one is better than none.
            wasteful = (
                not file.sweeping and file.wasteful and self._files.have_room(change.size + SWEEP_BYTES)
            )
            return self._files.size(), wasteful
        except BaseException:
            if file:
                file.close()
            raise
