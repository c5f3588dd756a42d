"""A range's file while it is written: it is exactly one revision at every moment, and the right one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.cache import file as file_module
from syncd.cache.file import File
from tests.cache.written import change_of, found, must_hold, small_files
from tests.store.model import (
    EVERYTHING,
    KEYS,
    Model,
    Writes,
    contents,
    in_order,
    new_store,
    read,
    writes,
)
from tests.store.model import small_blocks as few_records_a_block

runs = st.tuples(st.integers(0, 29), st.integers(1, 12)).map(lambda r: dict.fromkeys(KEYS[r[0] : sum(r)]))
"""Neighbours that are deleted together, and so whole blocks."""

steps = st.lists(
    st.one_of(
        writes,
        writes,
        writes,
        runs,
        st.just("commit"),
        st.just("commit"),
        st.sampled_from(["progress", "re-read", "other epoch", "new file"]),
    ),
    max_size=60,
)


class Writer:
    """Writes a file as a keeper does, and looks at what a crash would leave between any two transactions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etcd = Model()
        self.store = new_store()
        self.looks = self.sweeps = 0
        self.made = 0
        self.new_file()

    def new_file(self) -> None:
        """Begin another one."""
        self.made += 1
        path = self.folder / f"{self.made}.lmdb"
        self.cursor = self.store.cursor(EVERYTHING)
        self.written = {self.store.revision}
        self.file = _Watched(self, path, EVERYTHING, change_of(self.store))
        must_hold(path, self.store)

    def do(self, step: Writes | str) -> None:
        """Let it happen."""
        match step:
            case "commit":
                self.commit()
            case "progress":
                self.etcd.idle(2)
                self.store.advance(self.etcd.revision)
            case "re-read" | "other epoch":
                self.etcd.write({KEYS[0]: b"m", KEYS[9]: None})
                epoch = self.store.epoch + ("f" if step == "other epoch" else "")
                read(self.store, self.etcd.revision, epoch, [in_order(self.etcd.state)])
                self.anew()
            case "new file":
                self.anew()
            case _:
                assert not isinstance(step, str)
                if events := self.etcd.write(step):
                    self.store.apply(self.etcd.revision, events)

    def anew(self) -> None:
        """Begin another file, from what the store has."""
        self.file.close()
        self.new_file()

    def commit(self) -> None:
        """Have everything written."""
        before, self.written = self.written, self.written | {self.store.revision}
        base = self.file._base_revision
        self.file.commit(change_of(self.store, self.cursor))
        self.sweeps += self.file._base_revision != base
        must_hold(self.file.path, self.store)
        self.written -= before - {self.store.revision}

    def look(self) -> None:
        """What is in the file now was etcd's at its revision, this commit's or that of the one before."""
        self.looks += 1
        store, _ = found(self.file.path)
        assert store.revision in self.written
        assert contents(store) == self.etcd.past[store.revision]


class _Watched(File):
    """Room is made before each transaction, so after the one before it."""

    def __init__(self, writer: Writer, path: Path, *args: object) -> None:
        self._writer = writer
        super().__init__(path, *args)  # type: ignore[arg-type]

    def _make_room(self, size: int) -> None:
        if self.path.exists():
            self._writer.look()
        super()._make_room(size)


@pytest.fixture(autouse=True, scope="module")
def _everything_is_small() -> Iterator[None]:
    with few_records_a_block(), small_files():
        yield


@given(steps)
@settings(max_examples=60, deadline=None)
def test_a_file_holds_one_revision_at_every_moment(steps: list[Writes | str]) -> None:
    """Batches in any groups, sweeps that begin, go on and end meanwhile: what is read equals the store."""
    with TemporaryDirectory() as folder:
        writer = Writer(Path(folder))
        for step in steps:
            writer.do(step)
        writer.commit()
        while writer.file.sweeping:
            writer.commit()
        writer.file.close()


def test_a_long_life_sees_many_sweeps(tmp_path: Path) -> None:
    """The journal is as short after them as before, and the past reaches back a sweep at least."""
    dice = random.Random(1)
    writer = Writer(tmp_path)
    journals = []
    for _ in range(100):
        for _ in range(dice.randrange(4)):
            keys = dice.sample(KEYS, dice.randrange(1, 5))
            writer.do({key: dice.choice([None, b"", b"1", b"22", b"333"]) for key in keys})
        writer.commit()
        _, saved = found(writer.file.path)
        journals.append(sum(len(batch.events) for batch in saved.image.batches))
    writer.file.close()
    assert writer.sweeps > 10
    assert writer.looks > 100
    assert max(journals) < 4 * file_module.SWEEP_EVENTS
    assert min(journals[40:]) >= file_module.SWEEP_EVENTS
