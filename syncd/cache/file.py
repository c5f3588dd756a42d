"""One range's file, as it is written.

Written is what the store has: its blocks as they are, which is dear and seldom, and between that a journal of
its batches, which is cheap. When the journal has grown long, the blocks that have changed since are written
over the old ones, some with every commit (a *sweep*). Meanwhile some blocks are newer than the others, which
does no harm: the journal goes back to before the sweep, and to repeat it changes nothing. Each commit is one
LMDB transaction. So whatever kills the process, the file holds one revision.

A file is written by the process that made it. Another one begins a new file, from what it has in memory,
which takes the old one's place when it is complete. So nobody writes where a crash or a bad disk may have
left anything, and the free pages of years are gone: to compact a file is the same as to make one.

The end of the journal is kept also when it is swept, as the history that readers resume from after a restart.

LMDB's flags are its defaults, with which a commit waits for the disk twice, for the pages and then for the
root. Without that (MDB_NOSYNC), a loss of power could leave the root of one revision with pages of another.
Only while a file is made nothing waits, as nobody would read it before its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import lmdb
import msgspec

from syncd import __version__
from syncd.cache.journal import Entry, Journal
from syncd.cache.layout import (
    BLOCKS,
    FORMAT,
    FORMAT_KEY,
    HEAD_KEY,
    JOURNAL,
    Head,
    Proof,
    digest_of,
    encode_batch,
    encode_head,
    number,
    seal_block,
    sealed,
)
from syncd.cache.reading import DATABASES
from syncd.cache.regions import Known, Mark, Region, regions
from syncd.cache.sweep import PIECE, Sweep, pieces, size_of
from syncd.keyrange import KeyRange
from syncd.records import Batch
from syncd.store import Block

DRAFT = ".new"
"""What the name of a file ends with that is being made."""

SWEEP_EVENTS, SWEEP_EVENTS_A_BLOCK = 10_000, 4
SWEEP_BYTES, SWEEP_SHARE = 8 << 20, 4
"""A journal is swept when it has so many events, or four for each block; or so many bytes, or a quarter of
the range's. Seldom, as every block that has changed is written then: with 500,000 keys of 200 bytes that
change in turn, a sweep each 10,000 events cost twice as much. But the next start replays it, and the file
holds it. The first figure of each is also how much is kept as history."""

HASTE = 4
"""How much quicker than the journal grows it is swept: meanwhile it is longer than that."""

MAP_SPARE = 1 << 30
"""Addresses that are reserved beyond the file's end; they cost nothing."""

WASTE = 1.3
WASTE_LEAST = 16 << 20
"""A file that is this many times as large as what is in it, and so many bytes more, should be made anew."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is to hold from now on; what is not explained here, syncd.store.Image does."""

    epoch: str
    revision: int
    changed_revision: int
    changed_keys: tuple[bytes, ...]
    count: int
    proof: Proof | None
    blocks: Sequence[Block]
    """All, as of `revision`."""
    size: int
    """Bytes of their keys and values."""
    batches: Sequence[Batch]
    """What is not in the file yet; for a new one, all after `oldest_revision`."""
    oldest_revision: int = 0
    read_took: float = 0.0


_Transaction: TypeAlias = "lmdb.Transaction[bytes]"
_Database: TypeAlias = "lmdb._Database"  # noqa: SLF001 - the type of what it hands out has no other name


class File:
    """The file of `keys` at `path`, made anew. Everything blocks; lmdb.Error and OSError end its use."""

    def __init__(self, path: Path, keys: KeyRange, change: Change) -> None:
        self.path = path
        self._keys = keys
        self._blocks: Sequence[Mark] = ()
        """Those of the last sweep, which need not be kept in memory for that; the journal goes on from
        `_base_revision`, when it began."""
        self._base_revision = change.revision
        self._journal = Journal(change.oldest_revision)
        self._sweep: Sweep | None = None
        self._written: dict[int, tuple[int, int]] = {}
        """The number and digest of each block in the file, by its serial number."""
        self._next = 0
        self._buffer = bytearray()
        """For one block after the other."""
        self._digest = 0
        draft = path.with_name(path.name + DRAFT)
        draft.unlink(missing_ok=True)
        try:
            self._open(draft, final=False)
            try:
                self._fill(change)
                self._env.sync(True)
            finally:
                self._env.close()
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
        self._open(path, final=True)

    @property
    def size(self) -> int:
        """Bytes that it takes of the disk."""
        return self.path.stat().st_size

    @property
    def sweeping(self) -> bool:
        """Whether there is more to do, though nothing has changed."""
        return self._sweep is not None

    @property
    def wasteful(self) -> bool:
        """Whether much of it is free, so that a new one would be smaller."""
        with self._env.begin() as txn:
            stats = [txn.stat(), txn.stat(self._block_entries), txn.stat(self._journal_entries)]
        used = sum(
            stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
            for stat in stats
        )
        return self.size > WASTE * used + WASTE_LEAST

    def commit(self, change: Change) -> None:
        """Take over what has changed."""
        entries = _entries(change)
        size = sum(len(entry.content) for entry in entries)
        self._make_room(size)
        with self._env.begin(write=True) as txn:
            self._append(txn, entries)
            self._conclude(txn, change)
        most_events = max(SWEEP_EVENTS, SWEEP_EVENTS_A_BLOCK * len(change.blocks))
        most_bytes = max(SWEEP_BYTES, change.size // SWEEP_SHARE)
        if self._sweep is None and (self._journal.events > most_events or self._journal.bytes > most_bytes):
            begun = [*regions(self._blocks, change.blocks)]
            self._sweep = Sweep(change.blocks, change.revision, begun[::-1])
            self._journal.count_anew()
        events = sum(entry.events for entry in entries)
        left = HASTE * max(events / most_events, size / most_bytes) * change.size
        while self._sweep:
            piece = self._sweep.piece()
            written = sum(size_of(new) for _, new in piece)
            self._make_room(written)
            with self._env.begin(write=True) as txn:
                self._go_on(txn, self._sweep, piece)
                self._conclude(txn, change)
            left -= written
            if left <= 0:
                break

    def close(self) -> None:
        """Let go of it."""
        self._env.close()

    def _open(self, path: Path, *, final: bool) -> None:
        """Open for writing. A draft has no lock file, and does not wait for the disk."""
        self._env = lmdb.open(
            os.fspath(path),
            subdir=False,
            mode=0o600,
            max_dbs=DATABASES,
            map_size=(path.stat().st_size if final else 0) + MAP_SPARE,
            lock=final,
            sync=final,
        )
        self._block_entries = self._env.open_db(BLOCKS)
        self._journal_entries = self._env.open_db(JOURNAL)

    def _fill(self, change: Change) -> None:
        """Write everything; a part of it is of no use."""
        for piece in pieces(change.blocks):
            self._make_room(size_of(piece))
            with self._env.begin(write=True) as txn:
                self._replace(txn, (), piece)
        self._blocks = _marks(change.blocks)
        with self._env.begin(write=True) as txn:
            self._append(txn, _entries(change))
            self._journal.count_anew()
            txn.put(FORMAT_KEY, b"%d" % FORMAT)
            self._conclude(txn, change)

    def _append(self, txn: _Transaction, entries: Sequence[Entry]) -> None:
        for revision, _, content in entries:
            self._digest ^= digest_of(content)
            _put(txn, self._journal_entries, revision, content)
        self._journal.append(entries)

    def _go_on(self, txn: _Transaction, sweep: Sweep, piece: Iterable[Region]) -> None:
        """Write a piece of a sweep, and end it after the last one."""
        for gone, new in piece:
            self._replace(txn, gone, new)
        if not sweep.regions:
            self._blocks, self._base_revision, self._sweep = _marks(sweep.blocks), sweep.revision, None
            self._trim(txn)

    def _replace(self, txn: _Transaction, gone: Iterable[Known], new: Iterable[Block]) -> None:
        for block in gone:
            at, digest = self._written.pop(block.serial)
            txn.delete(number(at), db=self._block_entries)
            self._digest ^= digest
        for block in new:
            at, self._next = self._next, self._next + 1
            self._digest ^= (digest := seal_block(at, block, self._buffer))
            _put(txn, self._block_entries, at, self._buffer)
            self._written[block.serial] = at, digest

    def _trim(self, txn: _Transaction) -> None:
        """Forget of the journal what nobody needs."""
        last = number(self._journal.forget(self._base_revision, SWEEP_EVENTS, SWEEP_BYTES))
        with txn.cursor(self._journal_entries) as cursor:
            cursor.first()
            while (key := cursor.key()) and key <= last:
                self._digest ^= digest_of(cursor.value())
                cursor.delete()  # and the next one is the current one

    def _conclude(self, txn: _Transaction, change: Change) -> None:
        head = Head(
            syncd=__version__,
            range=self._keys,
            cluster_id=change.epoch.partition("-")[0],
            epoch=change.epoch,
            revision=change.revision,
            changed_revision=change.changed_revision,
            changed_keys=change.changed_keys,
            count=change.count,
            base_revision=self._base_revision,
            oldest_revision=self._journal.oldest_revision,
            blocks=len(self._written),
            digest=self._digest,
            proof=change.proof,
            read_took=change.read_took,
        )
        txn.put(HEAD_KEY, encode_head(head))

    def _make_room(self, size: int) -> None:
        """See that the file may grow by so many bytes of entries, and all the pages that they touch."""
        needed = Path(self._env.path()).stat().st_size + 2 * (size + PIECE) + MAP_SPARE // 4
        if needed > self._env.info()["map_size"]:
            self._env.set_mapsize(needed + MAP_SPARE)


def _put(txn: _Transaction, database: _Database, key: int, entry: bytes | bytearray) -> None:
    if not txn.put(number(key), entry, append=True, db=database):
        raise lmdb.CorruptedError(f"entry {key} is not the last one")


def _marks(blocks: Iterable[Block]) -> list[Mark]:
    return [Mark(block.first, block.serial) for block in blocks]


def _entries(change: Change) -> list[Entry]:
    return [
        Entry(batch.revision, len(batch.events), sealed(batch.revision, encode_batch(batch)))
        for batch in change.batches
    ]


def _sync_directory(path: Path) -> None:
    """So that a loss of power does not undo a change of names."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
