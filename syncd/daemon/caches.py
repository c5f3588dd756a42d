"""The copies on disk: what stores begin with, and who keeps them; or why there are none."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import structlog

from syncd.cache import Directory, Keeper, Unusable, age_of, boot_time, occupied
from syncd.config import Config
from syncd.keyrange import KeyRange
from syncd.status import CacheStatus
from syncd.store import Store
from syncd.sync import Mirror

log = structlog.get_logger("syncd.cache")


class Begun(NamedTuple):
    """What a mirror begins with."""

    store: Store
    proved_at: float | None = None
    """Seconds of `boot_time`, None when that is not known."""
    read_took: float = 0.0
    """Seconds."""


@contextmanager
def caches(settings: Config) -> Iterator[Caches]:
    """Use the directory that is configured; InUse when another daemon does."""
    with ExitStack() as held:
        directory: Directory | None = None
        trouble: Unusable | None = None
        if (path := settings.cache.directory) is not None:
            try:
                directory = held.enter_context(occupied(path))
                trouble = directory.trouble
            except Unusable as error:
                trouble = error
        if trouble:
            start = "begins with what is there now" if directory else "must read everything from etcd"
            log.error(
                "no disk cache",
                code=trouble.code,
                error=str(trouble),
                meaning=f"nothing is kept on disk by this process; the next one {start}",
                cure="see `syncd check`, then restart the daemon; or set another cache.directory, or null",
            )
        yield Caches(settings, directory, trouble)


class Caches:
    """Those of all ranges; `trouble` says why nothing can be written, if so."""

    def __init__(self, settings: Config, directory: Directory | None, trouble: Unusable | None) -> None:
        self._settings = settings
        self._directory = directory
        self._trouble = trouble
        self._restored: dict[KeyRange, int] = {}
        """The revision of each copy that was there."""
        self._keepers: dict[KeyRange, Keeper] = {}
        with suppress(OSError):  # who loads a copy will be told
            for path in directory.others(settings.ranges) if directory else ():
                log.warning(
                    "cache unused",
                    code="cache.other_ranges",
                    path=str(path),
                    bytes=path.lstat().st_size,
                    meaning="no such range is configured any more; remove the file when it is not needed",
                )

    def begin(self, keys: KeyRange) -> Begun:
        """A store for `keys`, with what there is of it. Only for a process that has no other threads."""
        history = self._settings.history
        store = Store(keys, history_events=history.events, history_bytes=history.bytes)
        if self._directory is None:
            return Begun(store)
        began = time.monotonic()
        gc.disable()  # half a million objects are made here that all stay
        try:
            head = self._directory.files_of(keys).load(store)
        except OSError as error:
            log.error(  # noqa: TRY400 - where it happened is no matter
                "cache not read",
                code="cache.not_read",
                range=keys.name,
                error=str(error),
                meaning="what is there stays, for the next start; the range is read from etcd",
            )
            head = None
        finally:
            gc.enable()
        if head is None:
            return Begun(store)
        self._restored[keys] = head.revision
        age = age_of(head.proof)
        log.info(
            "restored",
            range=keys.name,
            keys=store.count,
            revision=store.revision,
            epoch=store.epoch,
            age=None if age is None else round(age, 3),
            seconds=round(time.monotonic() - began, 3),
        )
        return Begun(store, None if age is None else boot_time() - age, head.read_took)

    @asynccontextmanager
    async def kept(self, mirrors: Sequence[Mirror]) -> AsyncIterator[None]:
        """Keep copies of what `mirrors` hold; those of the very end are written when this is left."""
        if self._directory is None or self._trouble:
            yield
            return
        clock = asyncio.get_running_loop().time
        with ThreadPoolExecutor(1, "cache") as thread:
            for mirror in mirrors:
                store, files = mirror.store, self._directory.files_of(mirror.store.keys)
                self._keepers[store.keys] = Keeper(
                    store,
                    files,
                    thread,
                    partial(_age, mirror),
                    clock,
                    kept=store.ready,
                    read_took=partial(_read_took, mirror),
                )
            async with asyncio.TaskGroup() as group:
                for keys, keeper in self._keepers.items():
                    group.create_task(keeper.run(), name=f"cache of {keys.name}")
                yield
                for keeper in self._keepers.values():
                    keeper.stop()

    def statuses(self) -> dict[KeyRange, CacheStatus]:
        """How the copies are doing; none without a directory."""
        if self._trouble:
            return {
                keys: CacheStatus(self._restored.get(keys, 0), error=str(self._trouble))
                for keys in self._settings.ranges
            }
        return {keys: keeper.status() for keys, keeper in self._keepers.items()}


def _age(mirror: Mirror) -> float | None:
    return mirror.freshness()[1]


def _read_took(mirror: Mirror) -> float:
    return mirror.read_took
