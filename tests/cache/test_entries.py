"""Entries of a range's file that LMDB has no reason to doubt, and that are not what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import lmdb
import pytest

from syncd.cache.errors import Damaged
from syncd.cache.file import File
from syncd.cache.layout import BLOCKS, JOURNAL, number, sealed
from syncd.records import Event, Record
from tests.cache.written import change_of, found, must_hold, small_files
from tests.store.model import EVERYTHING, new_store

Spoil: TypeAlias = "Callable[[lmdb.Transaction[bytes], lmdb._Database], None]"

NOTICED = r"its checksum is wrong|something is missing, or older than the rest"


def last_of(txn: lmdb.Transaction[bytes], database: lmdb._Database) -> tuple[bytes, bytes]:
    """The last entry."""
    cursor = txn.cursor(database)
    assert cursor.last()
    return cursor.item()


def flip(txn: lmdb.Transaction[bytes], database: lmdb._Database) -> None:
    """One bit of it."""
    key, entry = last_of(txn, database)
    txn.put(key, entry[:-1] + bytes([entry[-1] ^ 1]), db=database)


def lose(txn: lmdb.Transaction[bytes], database: lmdb._Database) -> None:
    """All of it."""
    key, _ = last_of(txn, database)
    txn.delete(key, db=database)


def repeat(txn: lmdb.Transaction[bytes], database: lmdb._Database) -> None:
    """As another entry, sealed as such."""
    key, entry = last_of(txn, database)
    at = int.from_bytes(key, "big") + 1
    txn.put(number(at), sealed(at, entry[8:]), db=database)


def rename(txn: lmdb.Transaction[bytes], database: lmdb._Database) -> None:
    """To another key."""
    key, entry = last_of(txn, database)
    txn.delete(key, db=database)
    txn.put(number(int.from_bytes(key, "big") + 1), entry, db=database)


def age(txn: lmdb.Transaction[bytes], database: lmdb._Database) -> None:
    """Put another one in its place that was sealed for it once."""
    key, entry = last_of(txn, database)
    txn.put(key, sealed(int.from_bytes(key, "big"), entry[8:].replace(b"new", b"old")), db=database)


@pytest.mark.parametrize("name", [BLOCKS, JOURNAL])
@pytest.mark.parametrize("spoil", [flip, lose, repeat, rename, age])
def test_an_entry_that_is_not_as_it_was_written_is_noticed(tmp_path: Path, name: bytes, spoil: Spoil) -> None:
    """Also one that is good by itself, as on an old page that the disk has kept."""
    store = new_store({b"/a": Record(b"/a", b"new", 1, 1, 1)})
    cursor = store.cursor(EVERYTHING)
    path = tmp_path / "1.lmdb"
    with small_files():
        file = File(path, EVERYTHING, change_of(store))
        store.apply(2, [Event(Record(b"/b", b"new", 2, 2, 1))])
        file.commit(change_of(store, cursor))
        file.close()
        must_hold(path, store)
        with lmdb.open(str(path), subdir=False, max_dbs=2, lock=False) as env:
            database = env.open_db(name)
            with env.begin(write=True) as txn:
                spoil(txn, database)
        with pytest.raises(Damaged, match=NOTICED):
            found(path)
