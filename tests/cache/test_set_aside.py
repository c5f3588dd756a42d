"""Generations of copies: which one is used, and what becomes of those that cannot be gone on with."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.cache import RangeFiles, occupied
from syncd.cache.directory import ASIDE, LOCK
from syncd.cache.file import File
from syncd.cache.layout import FORMAT_KEY
from syncd.keyrange import prefix_range
from tests.cache.copies import assert_as_it_was, change_of, drawn, edited, empty_store, kept, loaded, saved
from tests.store.model import EVERYTHING

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a directory will be."""
    return tmp_path / "cache"


def set_aside(files: RangeFiles) -> list[dict[str, Any]]:
    """Load, in vain; what was logged."""
    store = empty_store(EVERYTHING)
    with capture_logs() as logs:
        assert files.load(store) is None
    assert not store.ready
    return [dict(line) for line in logs]


def test_a_newer_copy_takes_the_place_of_all_before(path: Path) -> None:
    """With what a crash has left of them; another range's, and what was set aside, are left."""
    with occupied(path) as directory:
        files, other = directory.files_of(EVERYTHING), directory.files_of(prefix_range(b"/x"))
        untouched = [saved(other)[0], files.next().with_name(files.next().name + ASIDE)]
        untouched[1].touch()
        for _ in range(3):
            at, _ = saved(files)
        files.next().with_name(files.next().name + ".new").touch()
        files.next().with_name(files.next().name + "-lock").touch()
        last, model = saved(files)
        assert last.name == at.name.replace(".4.", ".7.")
        files.replaced_by(last)
        assert_as_it_was(loaded(files), model)
        left = {LOCK, last.name, f"{last.name}-lock", f"{untouched[0].name}-lock"}
        assert {each.name for each in path.iterdir()} == left | {each.name for each in untouched}


def test_the_older_copy_is_used_when_the_newer_is_damaged(path: Path) -> None:
    """As when the disk has lost the one that was made last; that one is set aside, and told."""
    with occupied(path) as directory:
        files = directory.files_of(EVERYTHING)
        _, model = saved(files, 30)
        newer, _ = saved(files, 40)
        os.truncate(newer, 10_000)
        store = empty_store()
        with capture_logs() as logs:
            assert files.load(store)
        assert_as_it_was(store, model)
        (line,) = logs
        assert line["event"] == "cache set aside"
        assert (line["log_level"], line["code"], line["path"]) == ("error", "cache.damaged", str(newer))
        assert_as_it_was(loaded(files), model)


def test_of_those_set_aside_the_newest_are_kept(path: Path) -> None:
    """One for each time that something was found damaged would fill the disk; what is removed is told."""
    with occupied(path) as directory:
        files = directory.files_of(EVERYTHING)
        first, second = saved(files)[0], saved(files)[0]
        for each in (first, second):
            os.truncate(each, 10_000)
        assert [line["removed"] for line in set_aside(files)] == [[], []]
        third, _ = saved(files)
        os.truncate(third, 10_000)
        (line,) = set_aside(files)
        assert line["removed"] == [f"{first}{ASIDE}", f"{second}{ASIDE}"]
        assert {each.name for each in path.iterdir()} == {LOCK, f"{third.name}{ASIDE}"}


def _of_a_newer_format(at: Path) -> None:
    with edited(at) as entries:
        entries.txn.put(FORMAT_KEY, b"2")


def _of_another_range(at: Path) -> None:
    at.unlink()
    with kept(at, drawn(Random(1), 20), prefix_range(b"/0")):
        pass


def _with_a_wrong_count(at: Path) -> None:
    at.unlink()
    with kept(at.with_name("model"), drawn(Random(1), 20)) as copy:
        copy.store._blocks.count += 1
        File(at, EVERYTHING, change_of(copy.store)).close()


def _linked(at: Path) -> None:
    at.rename(at.with_name("elsewhere"))
    at.symlink_to("elsewhere")


def _piped(at: Path) -> None:
    at.unlink()
    os.mkfifo(at)


def _a_directory(at: Path) -> None:
    at.unlink()
    at.mkdir()


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (_of_a_newer_format, "cache.newer_format", "it has the format 2, and this version of syncd knows 1"),
        (_of_another_range, "cache.damaged", "it is of the range '/0'"),
        (_with_a_wrong_count, "cache.damaged", "it is damaged: 20 keys were restored, 21 were saved"),
        (lambda at: at.chmod(0o660), "cache.unwritable", r"others may write to it \(mode 0660\)"),
        (lambda at: at.chmod(0o602), "cache.unwritable", r"others may write to it \(mode 0602\)"),
        (_linked, "cache.unwritable", "it is no file"),
        (_piped, "cache.unwritable", "it is no file"),
        (_a_directory, "cache.unwritable", "it is no file"),
        pytest.param(
            lambda at: os.chown(at, NOBODY, -1),
            "cache.unwritable",
            "it belongs to the user with the uid 65534, not to 0",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: others' copies (needs root)"),
        ),
    ],
)
def test_what_cannot_be_gone_on_with(
    path: Path, spoil: Callable[[Path], object], code: str, reason: str
) -> None:
    """It is set aside, whatever it is, and one line tells where and why."""
    with occupied(path) as directory:
        files = directory.files_of(EVERYTHING)
        at, _ = saved(files)
        spoil(at)
        (line,) = set_aside(files)
        assert (line["event"], line["code"], line["path"]) == ("cache set aside", code, str(at))
        assert re.fullmatch(reason, line["error"]), line
        assert os.path.lexists(line["kept"])
        assert not os.path.lexists(at)
        assert files.next().name == at.name.replace(".1.", ".2.")
