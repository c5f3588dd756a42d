"""How a copy is read: by a child first, which may fail in any way, and only if it is all that was written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from syncd.cache import reading
from syncd.cache.errors import CacheError, Damaged, NewerFormat, NotRead
from syncd.cache.layout import FORMAT, FORMAT_KEY, HEAD_KEY, number, sealed
from syncd.cache.reading import read
from syncd.lockfile import holder
from tests.cache.copies import Entries, drawn, edited, kept
from tests.serve.local import wait_until

MISSING = "something is missing, or older than the rest"

FIRST = 3
"""The first revision in the journal of `path`."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy with several blocks, and a journal."""
    path = tmp_path / "copy"
    with kept(path, drawn(Random(1), keys=300)) as copy:
        copy.commit({b"/new": b"1"}, {b"/new": b"2"}, {b"/new": None})
    return path


def _moved(entries: Entries) -> None:
    batch = entries.txn.pop(number(FIRST), db=entries.journal)
    assert batch
    entries.txn.put(number(FIRST - 1), batch, db=entries.journal)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: e.txn.put(FORMAT_KEY, b"one"), "invalid literal"),
        (lambda e: e.txn.delete(FORMAT_KEY), "it has no format"),
        (lambda e: e.txn.delete(HEAD_KEY), "it has no head"),
        (lambda e: e.txn.put(HEAD_KEY, b"x"), "its checksum is wrong"),
        (lambda e: e.txn.drop(e.blocks), "MDB_NOTFOUND"),
        (lambda e: e.txn.delete(number(0), db=e.blocks), MISSING),
        (lambda e: e.txn.delete(number(FIRST), db=e.journal), MISSING),
        (lambda e: e.txn.put(number(99), sealed(99, b"x"), db=e.journal), MISSING),
        (lambda e: e.txn.put(number(0), b"", db=e.blocks), "its checksum is wrong"),
        (_moved, "its checksum is wrong"),
    ],
)
def test_what_lmdb_does_not_notice(path: Path, change: Callable[[Entries], object], reason: str) -> None:
    """Something more, something less, something at another place: all of it is noticed."""
    assert read(path).head.count > 0
    with edited(path) as entries:
        change(entries)
    with pytest.raises(Damaged, match=reason) as caught:
        read(path)
    assert (caught.value.path, caught.value.code) == (path, "cache.damaged")


def test_a_newer_format(path: Path) -> None:
    """It is told apart from damage, whatever else is there: nothing but that line must be as it is now."""
    with edited(path) as entries:
        entries.txn.put(FORMAT_KEY, b"%d" % (FORMAT + 1))
        entries.txn.put(HEAD_KEY, b"other")
    with pytest.raises(NewerFormat, match=f"format {FORMAT + 1}, and this version of syncd knows {FORMAT}$"):
        read(path)


def test_one_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that answers no more; here, nobody writes into a pipe."""
    monkeypatch.setattr(reading, "PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRead, match="cannot be read in any reasonable time"):
        read(tmp_path / "pipe")


def test_no_process_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no more of them; root cannot be limited in that, so it is said to be so."""

    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refused)
    with pytest.raises(NotRead, match="nobody can look at it: Resource temporarily unavailable"):
        read(path)


@pytest.fixture
def children_are_ignored() -> Iterator[None]:
    """As some that start a daemon have it: the kernel forgets how children ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("children_are_ignored")
def test_where_nobody_learns_how_children_end(path: Path) -> None:
    """What the child says counts; and when it says nothing, the file is damaged."""
    assert read(path).head.count > 0
    os.truncate(path, 8192)
    with pytest.raises(Damaged, match="whoever reads it is ended by something unknown"):
        read(path)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (MemoryError("none left"), NotRead, "nobody can look at it: none left"),
        (RuntimeError("unheard of"), Damaged, "it is damaged: RuntimeError('unheard of')"),
    ],
)
def test_what_nobody_has_thought_of(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[CacheError], said: str
) -> None:
    """It happens to the child, and the parent is told in a word."""

    def check(*_: object) -> None:
        raise error

    monkeypatch.setattr(reading._File, "check", check)
    with pytest.raises(kind) as caught:
        read(path)
    assert caught.value.message == said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_is_killed_says_nothing_of_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """As by a machine that has no more memory: the file is as good as before."""
    with monkeypatch.context() as patch:
        patch.setattr(reading._File, "check", lambda *_: os.kill(os.getpid(), number))
        with pytest.raises(NotRead, match=f"whoever was to look at it was ended by {number.name}"):
            read(path)
    assert read(path).head.count > 0


def test_ctrl_c_is_for_the_parent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child goes on looking; nothing of what the parent has to clear up is done by it, too."""
    check = reading._File.check

    def interrupted(file: reading._File, blocks: int) -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGINT)
        check(file, blocks)

    parent = os.getpid()
    monkeypatch.setattr(reading._File, "check", interrupted)
    assert read(path).head.count > 0


def test_a_lock_goes_with_its_process_while_a_child_looks(tmp_path: Path) -> None:
    """A daemon that is killed then can be started again at once; the child may hang for a while."""
    pipe, lock = tmp_path / "pipe", tmp_path / "lock"
    os.mkfifo(pipe)
    program = (
        "import sys; from pathlib import Path\n"
        "from syncd.cache.reading import read; from syncd.lockfile import locked\n"
        "with locked(Path(sys.argv[1])): read(Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", program, lock, pipe]) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        wait_until(children.read_text, "a child looks at it")
        child = int(children.read_text())
        assert holder(lock) == parent.pid
        parent.kill()
    try:
        wait_until(lambda: holder(lock) is None, "the lock is free", reading.PATIENCE / 2)
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)
