"""One range's file, as it is written.

Written is what the store has: its blocks as they are, which is dear and seldom, and between that a journal of
its batches, which is cheap. When the journal has grown long, the blocks that have changed since are written
over the old ones, some with every commit (a *sweep*). Meanwhile some blocks are newer than the others, which
does no harm: the journal goes back to before the sweep, and to repeat it changes nothing. Each commit is one
LMDB transaction. So whatever kills the process, the file holds one revision.

A file is written by the process that made it. Another one begins a new file, from what it has in memory,
which takes the old one's place when it is complete. So nobody writes where a crash or a bad disk may have
left anything, and the free pages of years are gone: to compact a file is the same as to make one.

Two sweeps' worth of the journal are kept, as the history that readers resume from after a restart.

LMDB's flags are its defaults, with which a commit waits for the disk twice, for the pages and then for the
root. Without that (MDB_NOSYNC), a loss of power could leave the root of one revision with pages of another.
Only while a file is made nothing waits, as nobody would read it before its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import lmdb
import msgspec

from syncd import __version__
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
    encode_block,
    encode_head,
    number,
    sealed,
)
from syncd.cache.reading import DATABASES
from syncd.cache.regions import Region, regions
from syncd.keyrange import KeyRange
from syncd.records import Batch
from syncd.store import Block

DRAFT = ".new"
"""What the name of a file ends with that is being made."""

SWEEP_EVENTS = 10_000
SWEEP_BYTES = 8 << 20
"""A journal that is longer is swept: at the next start, replaying so much takes 0.05 s."""

PIECE = 4 << 20
"""Bytes of blocks in one transaction: LMDB holds them in memory till its end, and the file needs as much room
beside what they replace."""

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
    batches: Sequence[Batch]
    """What is not in the file yet; for a new one, all after `oldest_revision`."""
    oldest_revision: int = 0


_Transaction: TypeAlias = "lmdb.Transaction[bytes]"


@dataclass(slots=True)
class _Sweep:
    """`blocks`, as of `revision`, are being written; `regions` are left, the next one last."""

    blocks: Sequence[Block]
    revision: int
    regions: list[Region]

    def piece(self) -> list[Region]:
        """The next regions, enough for one transaction."""
        taken, size = list[Region](), 0
        while self.regions and size < PIECE:
            taken.append(self.regions.pop())
            size += _size(taken[-1][1])
        return taken


class File:
    """The file of `keys` at `path`, made anew. Everything blocks; lmdb.Error and OSError end its use."""

    def __init__(self, path: Path, keys: KeyRange, change: Change) -> None:
        self.path = path
        self._keys = keys
        self._blocks: Sequence[Block] = ()
        """Those of the last sweep; the journal goes on from `_base_revision`, when it began."""
        self._base_revision = change.revision
        self._oldest_revision = change.oldest_revision
        self._events = self._bytes = 0
        """Of the journal, since then."""
        self._sweep: _Sweep | None = None
        self._written: dict[Block, tuple[int, int]] = {}
        """The number and digest of each block in the file."""
        self._next = 0
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
        journal = _journal(change)
        size = sum(len(entry) for _, entry in journal)
        self._make_room(size)
        with self._env.begin(write=True) as txn:
            self._append(txn, journal)
            self._conclude(txn, change)
        events = sum(len(batch.events) for batch in change.batches)
        self._events += events
        self._bytes += size
        if self._sweep is None and (self._events > SWEEP_EVENTS or self._bytes > SWEEP_BYTES):
            self._sweep = _Sweep(
                change.blocks, change.revision, [*regions(self._blocks, change.blocks)][::-1]
            )
            self._events = self._bytes = 0
        # So much that the sweep is over before the journal has grown as long once more.
        share = max(events / SWEEP_EVENTS, size / SWEEP_BYTES) * _size(change.blocks)
        while self._sweep:
            piece = self._sweep.piece()
            size = sum(_size(new) for _, new in piece)
            self._make_room(size)
            with self._env.begin(write=True) as txn:
                self._go_on(txn, self._sweep, piece)
                self._conclude(txn, change)
            share -= size
            if share <= 0:
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
        blocks = list(change.blocks)
        for piece in _pieces(blocks):
            self._make_room(_size(piece))
            with self._env.begin(write=True) as txn:
                self._replace(txn, (), piece)
        self._blocks = blocks
        with self._env.begin(write=True) as txn:
            self._append(txn, _journal(change))
            txn.put(FORMAT_KEY, b"%d" % FORMAT)
            self._conclude(txn, change)

    def _append(self, txn: _Transaction, journal: Iterable[tuple[int, bytes]]) -> None:
        for revision, entry in journal:
            self._digest ^= digest_of(entry)
            txn.put(number(revision), entry, append=True, db=self._journal_entries)

    def _go_on(self, txn: _Transaction, sweep: _Sweep, piece: Iterable[Region]) -> None:
        """Write a piece of a sweep, and end it after the last one."""
        for gone, new in piece:
            self._replace(txn, gone, new)
        if not sweep.regions:
            self._trim(txn)
            self._oldest_revision, self._base_revision = self._base_revision, sweep.revision
            self._blocks, self._sweep = sweep.blocks, None

    def _replace(self, txn: _Transaction, gone: Iterable[Block], new: Iterable[Block]) -> None:
        for block in gone:
            at, digest = self._written.pop(block)
            txn.delete(number(at), db=self._block_entries)
            self._digest ^= digest
        for block in new:
            at, self._next = self._next, self._next + 1
            entry = sealed(at, encode_block(block))
            txn.put(number(at), entry, append=True, db=self._block_entries)
            self._written[block] = at, digest_of(entry)
            self._digest ^= digest_of(entry)

    def _trim(self, txn: _Transaction) -> None:
        """Forget what the sweep before the one that ends has made superfluous."""
        with txn.cursor(self._journal_entries) as cursor:
            cursor.first()
            last = number(self._base_revision)
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
            oldest_revision=self._oldest_revision,
            blocks=len(self._written),
            digest=self._digest,
            proof=change.proof,
        )
        txn.put(HEAD_KEY, encode_head(head))

    def _make_room(self, size: int) -> None:
        """See that the file may grow by so many bytes of entries, and all the pages that they touch."""
        needed = Path(self._env.path()).stat().st_size + 2 * (size + PIECE) + MAP_SPARE // 4
        if needed > self._env.info()["map_size"]:
            self._env.set_mapsize(needed + MAP_SPARE)


def _journal(change: Change) -> list[tuple[int, bytes]]:
    return [(batch.revision, sealed(batch.revision, encode_batch(batch))) for batch in change.batches]


def _size(blocks: Iterable[Block]) -> int:
    return sum(block.size for block in blocks)


def _pieces(blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
    begin = size = 0
    for end, block in enumerate(blocks, 1):
        size += block.size
        if size >= PIECE or end == len(blocks):
            yield blocks[begin:end]
            begin, size = end, 0


def _sync_directory(path: Path) -> None:
    """So that a loss of power does not undo a change of names."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
