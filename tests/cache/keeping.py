"""A store that is kept on disk as a daemon keeps it, by a thread that can be held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event as Gate
from typing import Any, TypeVar

from syncd.cache import Keeper, occupied
from syncd.records import Event
from syncd.store import Store
from tests.cache.written import found
from tests.store.model import EVERYTHING, Model, Writes, in_order, new_store, read

Result = TypeVar("Result")


class Thread(ThreadPoolExecutor):
    """The thread that writes; `hold` has it wait before the next job, as a disk that hangs would."""

    def __init__(self) -> None:
        super().__init__(1, "cache")
        self._gate = Gate()
        self._gate.set()
        self.waiting = 0

    def hold(self) -> None:
        """From now on jobs wait."""
        self._gate.clear()

    def release(self) -> None:
        """They are done now."""
        self._gate.set()

    def submit(self, work: Callable[..., Result], /, *args: Any, **more: Any) -> Future[Result]:
        """Have `work` done when the gate is open."""
        self.waiting += 1

        def job() -> Result:
            self._gate.wait()
            self.waiting -= 1
            return work(*args, **more)

        return super().submit(job)


class Stand:
    """An etcd, the store that mirrors it, and the folder where that is kept."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self.etcd = Model()
        self.store = store or new_store()
        self.age: float | None = 0.5
        self.time = 0.0
        """By the keeper's clock."""
        self.thread = Thread()

    def write(self, writes: Writes) -> None:
        """Let one revision do this, and the store take it in."""
        self.store.apply(self.etcd.revision + 1, self.etcd.write(writes))

    def read(self, epoch: str) -> None:
        """Let something happen unseen, and have everything read."""
        self.etcd.write({b"/unseen": b"%d" % self.etcd.revision})
        read(self.store, self.etcd.revision, epoch, [in_order(self.etcd.state)])

    def overwrite(self, events: list[Event]) -> None:
        """Take in events that the etcd here knows nothing of."""
        self.store.apply(self.store.revision + 1, events)

    @asynccontextmanager
    async def kept(self, *, kept: bool = False) -> AsyncIterator[Keeper]:
        """Keep it; when this is left, what is there then has been written."""
        with self.thread, occupied(self.folder) as directory:
            files = directory.files_of(EVERYTHING)
            keeper = Keeper(self.store, files, self.thread, lambda: self.age, lambda: self.time, kept=kept)
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.run(), name="keeper")
                try:
                    yield keeper
                finally:
                    self.thread.release()
                keeper.stop()

    def copies(self) -> list[Path]:
        """The files, without drafts."""
        return sorted(self.folder.glob("*.lmdb"))

    @property
    def copy(self) -> Path:
        """The one file that there is."""
        (path,) = self.copies()
        return path

    def successor(self) -> Stand:
        """What the next process begins with."""
        store, _ = found(self.copy)
        stand = Stand(self.folder, store)
        stand.etcd = self.etcd
        return stand
