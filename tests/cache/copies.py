"""Copies on disk of what the etcd of `tests.store.model` did, made as a daemon makes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import lmdb
from structlog.testing import capture_logs

from syncd.cache import RangeFiles
from syncd.cache.file import Change, File
from syncd.cache.layout import BLOCKS, JOURNAL, Proof
from syncd.cache.reading import DATABASES
from syncd.keyrange import KeyRange
from syncd.records import Batch
from syncd.store import Store
from tests.store.model import EVERYTHING, UNBOUNDED, Model, Replica, Writes, contents, in_order, read

EPOCH = "e"
PROOF = Proof(1_800_000_000.0, "a boot of long ago", 1000.0)


def change_of(
    store: Store, batches: Sequence[Batch] = (), oldest_revision: int = 0, proof: Proof | None = PROOF
) -> Change:
    """All that `store` has, with the batches that are not in the file yet."""
    return Change(
        epoch=store.epoch,
        revision=store.revision,
        changed_revision=store.changed_revision,
        changed_keys=store.changed_keys,
        count=store.count,
        proof=proof,
        blocks=store.view().blocks,
        size=store.size,
        batches=batches,
        oldest_revision=oldest_revision,
    )


def empty_store(keys: KeyRange = EVERYTHING) -> Store:
    """One that keeps all of its history."""
    return Store(keys, history_events=UNBOUNDED, history_bytes=UNBOUNDED)


class Kept:
    """A model's state in a store and in the file at `path`, which begins with `writes`."""

    def __init__(self, path: Path, writes: Writes, keys: KeyRange = EVERYTHING) -> None:
        self.path = path
        self.model = Model()
        self.model.write(writes)
        self.store = empty_store(keys)
        read(self.store, self.model.revision, EPOCH, [in_order(self.model.state)])
        self._file = File(path, keys, change_of(self.store, oldest_revision=self.store.revision))

    def commit(self, *several: Writes) -> None:
        """Each of `several` is a revision; one commit has them all."""
        changes = (self.model.write(writes) for writes in several)
        batches = [self.store.apply(self.model.revision, events) for events in changes if events]
        self._file.commit(change_of(self.store, batches))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextmanager
def kept(path: Path, writes: Writes, keys: KeyRange = EVERYTHING) -> Iterator[Kept]:
    """A `Kept` that lets go of its file in the end."""
    one = Kept(path, writes, keys)
    try:
        yield one
    finally:
        one.close()


def drawn(random: Random, keys: int, share: float = 1.0) -> dict[bytes, bytes]:
    """Values for some of so many keys: most are small, some need pages of their own."""
    return {
        b"/%04d" % i: random.randbytes(random.choice([0, 10, 100]) if i % 20 else 6000)
        for i in range(keys)
        if random.random() < share
    }


def saved(files: RangeFiles, keys: int = 20) -> tuple[Path, Model]:
    """A new copy of so many keys, and what it is of."""
    path = files.next()
    with kept(path, drawn(Random(keys), keys)) as copy:
        return path, copy.model


def loaded(files: RangeFiles) -> Store:
    """What there is, which is all right."""
    store = empty_store()
    with capture_logs() as logs:
        head = files.load(store)
    assert head
    assert (head.revision, logs) == (store.revision, [])
    return store


class Entries:
    """What is in a copy, in a transaction that may change it; LMDB finds nothing wrong with that."""

    def __init__(self, env: lmdb.Environment, txn: lmdb.Transaction[bytes]) -> None:
        self.txn = txn
        self.blocks, self.journal = env.open_db(BLOCKS, txn), env.open_db(JOURNAL, txn)


@contextmanager
def edited(path: Path) -> Iterator[Entries]:
    """Change what is in the copy at `path`."""
    with (
        lmdb.open(os.fspath(path), subdir=False, lock=False, max_dbs=DATABASES, map_size=1 << 30) as env,
        env.begin(write=True) as txn,
    ):
        yield Entries(env, txn)


def assert_as_it_was(store: Store, model: Model) -> None:
    """`store` holds what `model` did at that very revision, and so does its history from its beginning on."""
    assert contents(store) == model.past[store.revision]
    oldest = store.history.oldest_revision
    replica = Replica(model.past[oldest])
    cursor = store.cursor(store.keys, oldest, store.epoch)
    while not cursor.at_end:
        replica.follow(cursor.read(UNBOUNDED))
    assert replica.state == contents(store)
