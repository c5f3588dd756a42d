"""What a file is to hold; and what it does, as a process finds it when the one that writes is killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest

from syncd.cache import file as file_module
from syncd.cache import keeper as keeper_module
from syncd.cache import reading
from syncd.cache import sweep as sweep_module
from syncd.cache.file import Change
from syncd.cache.layout import Proof
from syncd.cache.reading import Saved, read
from syncd.records import Batch
from syncd.store import Cursor, Store
from tests.cache import copies
from tests.store.model import UNBOUNDED, contents

PROOF = Proof(1_700_000_000.0, "boot", 5.0)


def change_of(store: Store, cursor: Cursor | None = None) -> Change:
    """All of `store`; with what `cursor` has not read yet, or without one, the past that a new file has."""
    batches, oldest_revision = list[Batch](), 0
    if cursor:
        while not cursor.at_end:
            batches += cursor.read(UNBOUNDED)
    else:
        batches, oldest_revision = store.history.tail(file_module.SWEEP_EVENTS, file_module.SWEEP_BYTES)
    return copies.change_of(store, batches, oldest_revision, PROOF)


def found(path: Path) -> tuple[Store, Saved]:
    """A store made of what is there now."""
    copy = path.with_name("found")
    shutil.copyfile(path, copy)
    saved = read(copy)
    store = Store(saved.head.range, history_events=UNBOUNDED, history_bytes=UNBOUNDED)
    store.restore(saved.image)
    return store, saved


def must_hold(path: Path, store: Store) -> Saved:
    """What is there is all of `store`, and its past as far as is said."""
    other, saved = found(path)
    assert contents(other) == contents(store)
    for name in ("epoch", "revision", "changed_revision", "changed_keys", "count", "size"):
        assert getattr(other, name) == getattr(store, name), name
    oldest = saved.image.oldest_revision
    assert oldest == other.history.oldest_revision >= store.history.oldest_revision
    places = (held.cursor(store.keys, oldest, store.epoch) for held in (other, store))
    one, two = (told(place.read(UNBOUNDED)) for place in places)
    assert one == two
    return saved


def told(batches: Sequence[Batch]) -> list[tuple[Any, ...]]:
    """What batches say; they are compared by identity otherwise."""
    return [msgspec.structs.astuple(batch) for batch in batches]


@contextmanager
def small_files(*, events: int = 12, size: int = 4000, piece: int = 20) -> Iterator[None]:
    """Sweep often, in many transactions.

    The disk is not waited for, and no child looks at files first: neither matters to what is in them.
    """
    real = lmdb.open

    def hasty(*args: Any, **settings: Any) -> Any:
        return real(*args, **{**settings, "sync": False})

    with pytest.MonkeyPatch.context() as patch:
        for module in (file_module, keeper_module):
            patch.setattr(module, "SWEEP_EVENTS", events)
            patch.setattr(module, "SWEEP_BYTES", size)
        patch.setattr(file_module, "SWEEP_EVENTS_A_BLOCK", 0)
        patch.setattr(file_module, "SWEEP_SHARE", 1 << 30)
        patch.setattr(sweep_module, "PIECE", piece)
        patch.setattr(lmdb, "open", hasty)
        patch.setattr(reading, "_have_it_looked_at", lambda path, shared: None)
        yield
