"""What a range's file takes of the disk, and of addresses; and how it comes to be."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import lmdb
import pytest

from syncd.cache import file as file_module
from syncd.cache.file import File
from syncd.records import Event, Record
from syncd.store import Store
from tests.cache.written import change_of, must_hold, small_files
from tests.store.model import EVERYTHING, new_store

PLENTY = 20_000


def filled(count: int, value: bytes, *, revision: int = 1) -> Store:
    """A store of so many keys."""
    keys = (b"/registry/%06d" % i for i in range(count))
    return new_store({key: Record(key, value, 1, 1, 1) for key in keys}, revision=revision)


def overwrite(store: Store, count: int, dice: random.Random, length: int) -> None:
    """Put so many keys anew, a hundred in each revision, with values of up to `length` bytes."""
    for _ in range(count // 100):
        revision = store.revision + 1
        events = []
        for at in dice.sample(range(PLENTY), 100):
            old = store.get(b"/registry/%06d" % at)
            assert old
            value = dice.randbytes(dice.randrange(length))
            events.append(Event(Record(old.key, value, 1, revision, old.version + 1)))
        store.apply(revision, events)


def test_the_size_is_bounded_however_long_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 commits of 1000 random overwrites each: ten times all that there is, in twenty sweeps."""
    monkeypatch.setattr(file_module, "WASTE_LEAST", 1 << 20)
    dice, store = random.Random(4), filled(PLENTY, bytes(100))
    cursor = store.cursor(EVERYTHING)
    journal = 2 << 20
    with small_files(events=10_000, size=journal, piece=256 << 10):
        file = File(tmp_path / "1.lmdb", EVERYTHING, change_of(store))
        raw, largest, made, sweeps = store.size, file.size, 1, 0
        for _ in range(200):
            overwrite(store, 1000, dice, 200)
            swept = file.sweeping
            file.commit(change_of(store, cursor))
            sweeps += swept and not file.sweeping
            largest = max(largest, file.size)
            if not file.sweeping and file.wasteful:
                made += 1
                file.close()
                file = File(tmp_path / f"{made}.lmdb", EVERYTHING, change_of(store))
        assert must_hold(file.path, store)
        file.close()
    assert sweeps > 20
    # The blocks; the journal of the last sweep, of this one, and of what came meanwhile; and the waste.
    used = 1.4 * raw + 3 * journal
    assert largest < file_module.WASTE * used + file_module.WASTE_LEAST
    assert made > 1


def test_a_new_file_is_hardly_larger_than_what_is_in_it(tmp_path: Path) -> None:
    """At most 1.3 times the keys and values, of 200 bytes; and it is not wasteful."""
    store = filled(PLENTY, bytes(184))
    file = File(tmp_path / "1.lmdb", EVERYTHING, change_of(store))
    assert store.size == PLENTY * 200
    assert file.size == file.path.stat().st_size < 1.3 * store.size
    assert not file.wasteful
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.close()


def test_much_that_is_deleted_makes_a_file_wasteful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the same as a new one, but for the room that it takes."""
    monkeypatch.setattr(file_module, "WASTE_LEAST", 1 << 20)
    store = filled(PLENTY, bytes(100))
    cursor = store.cursor(EVERYTHING)
    with small_files(events=10_000, size=8 << 20, piece=4 << 20):
        file = File(tmp_path / "1.lmdb", EVERYTHING, change_of(store))
        gone = [Event(Record(b"/registry/%06d" % i, mod_revision=2), deleted=True) for i in range(PLENTY - 9)]
        store.apply(2, gone)
        file.commit(change_of(store, cursor))
        while file.sweeping:
            file.commit(change_of(store, cursor))
        must_hold(file.path, store)
        before = file.size
        assert file.wasteful
        file.close()
        file = File(tmp_path / "2.lmdb", EVERYTHING, change_of(store))
        assert not file.wasteful
        assert file.size < before / 10
        file.close()


def test_values_of_megabytes_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of them is larger than what is written at a time otherwise: room is made for what comes."""
    monkeypatch.setattr(file_module, "MAP_SPARE", 1 << 16)
    store = filled(200, bytes(50_000))
    cursor = store.cursor(EVERYTHING)
    with small_files(events=10, size=10**6, piece=1 << 16):
        file = File(tmp_path / "1.lmdb", EVERYTHING, change_of(store))
        for step in range(3):
            for at in range(0, 200, 40):
                old = store.get(b"/registry/%06d" % at)
                assert old
                value = bytes(100_000 * (step + 1))
                put = Event(Record(old.key, value, 1, store.revision + 1, old.version + 1))
                store.apply(store.revision + 1, [put])
            file.commit(change_of(store, cursor))
            while file.sweeping:
                file.commit(change_of(store, cursor))
        must_hold(file.path, store)
        file.close()


def test_a_file_that_cannot_be_completed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither itself nor the draft; what was there before is as it was."""
    store = filled(1000, bytes(5000))
    (tmp_path / "1.lmdb").write_bytes(b"the one before")
    monkeypatch.setattr(file_module, "MAP_SPARE", 1 << 16)
    monkeypatch.setattr(File, "_make_room", lambda file, size: None)
    with pytest.raises(lmdb.MapFullError):
        File(tmp_path / "2.lmdb", EVERYTHING, change_of(store))
    assert [path.name for path in tmp_path.iterdir()] == ["1.lmdb"]


def test_a_draft_of_another_process_is_begun_anew(tmp_path: Path) -> None:
    """Whatever it was killed at."""
    draft = tmp_path / "2.lmdb.new"
    draft.write_bytes(b"half a file" * 1000)
    store = filled(10, b"")
    file = File(tmp_path / "2.lmdb", EVERYTHING, change_of(store))
    assert not draft.exists()
    must_hold(file.path, store)
    file.close()
