"""What is found of the disk cache's directory: by names and sizes, without a change."""

import os
from pathlib import Path

import pytest

from syncd.cache import Directory, Unusable, occupied
from syncd.config import Cache, Config, Serve
from syncd.diagnosis.copies import cache_findings
from syncd.findings import Finding
from syncd.keyrange import prefix_range
from tests.cache.disks import disk
from tests.diagnosis.host import as_nobody, needs_root, run_cure

A, B, OTHER = prefix_range(b"/a/"), prefix_range(b"/b/"), prefix_range(b"/other/")


def looked_at(path: Path | None) -> dict[str, Finding]:
    """The findings by code, for a daemon that mirrors A and B; looking changed nothing."""
    config = Config(ranges=(A, B), cache=Cache(directory=path), serve=Serve())
    before = sorted(path.rglob("*")) if path else []
    findings = list(cache_findings(config))
    assert path is None or sorted(path.rglob("*")) == before
    assert all(finding.cure for finding in findings if finding.level == "warning")
    return {finding.code: finding for finding in findings}


def copy_of_a(path: Path) -> Path:
    """A copy of the range A, 3 MiB large and two hours old."""
    path.mkdir(mode=0o700, exist_ok=True)
    copy = Directory(path, None).files_of(A).next()
    copy.write_bytes(bytes(3 << 20))
    hours_ago = copy.stat().st_mtime - 7201
    os.utime(copy, (hours_ago, hours_ago))
    return copy


def test_no_cache_is_a_note() -> None:
    """It may be wanted so."""
    assert set(looked_at(None)) == {"cache.off"}


def test_a_directory_that_can_be_made(folder: Path) -> None:
    """There is none before the first start."""
    assert looked_at(folder / "a" / "b")["cache.ok"].seen.startswith("can be made by the user ")


def test_what_is_there_is_told(folder: Path) -> None:
    """Of each range: how large its newest copy is, and how old."""
    copy_of_a(folder / "cache")
    Directory(folder / "cache", None).files_of(B).next().write_bytes(bytes(1500))
    found = looked_at(folder / "cache")
    assert set(found) == {"cache.ok"}
    assert found["cache.ok"].seen == "/a/: 3.0 MiB, written 2 hours ago; /b/: 1.5 KiB, written just now"


def test_a_daemon_that_runs_is_known(folder: Path) -> None:
    """By its lock, which is not tried; what is there is told all the same."""
    with occupied(folder / "cache"):
        seen = looked_at(folder / "cache")["cache.in_use"].seen
    pid = os.getpid()
    assert seen == f"a syncd keeps its copies there (pid {pid}); /a/: no copy yet; /b/: no copy yet"
    assert set(looked_at(folder / "cache")) == {"cache.ok"}


@needs_root
def test_a_daemon_of_another_user_is_known(folder: Path) -> None:
    """Its directory cannot be looked into."""
    with occupied(folder / "cache"):
        (folder / "cache").chmod(0o711)
        with as_nobody():
            found = looked_at(folder / "cache")
    assert found["cache.in_use"].seen == f"a syncd keeps its copies there (pid {os.getpid()})"


def test_what_is_no_directory(folder: Path) -> None:
    """At its place, or on the way to it."""
    (folder / "file").touch()
    for path in (folder / "file", folder / "file" / "cache"):
        unwritable = looked_at(path)["cache.unwritable"]
        assert unwritable.seen == f"{folder / 'file'} is no directory"
        run_cure(unwritable)


@needs_root
@pytest.mark.parametrize("there", [True, False])
def test_a_directory_that_is_not_this_users_is_mended_by_its_cure(folder: Path, *, there: bool) -> None:
    """Whether it is there already, or the way to it is closed."""
    cache = folder / "cache"
    if there:
        cache.mkdir()
    with as_nobody():
        unwritable = looked_at(cache)["cache.unwritable"]
    assert ("with the uid 0, and not to nobody" if there else "may not write in") in unwritable.seen
    run_cure(unwritable)
    with as_nobody():
        assert set(looked_at(cache)) == {"cache.ok"}
    assert "with the uid 65534, and not to root" in looked_at(cache)["cache.unwritable"].seen


def test_a_directory_of_all_is_mended_by_its_cure(folder: Path) -> None:
    """Where others may write beside their own files, the daemon keeps nothing."""
    (folder / "theirs").touch()
    folder.chmod(0o777)
    unwritable = looked_at(folder)["cache.unwritable"]
    assert "files of others, such as theirs" in unwritable.seen
    with pytest.raises(Unusable, match="others may write there"), occupied(folder):
        pass
    run_cure(unwritable)
    assert set(looked_at(folder)) == {"cache.ok"}
    with occupied(folder):
        pass


def test_a_read_only_disk(folder: Path) -> None:
    """It is told as such, and not as a matter of permissions."""
    with disk(folder / "disk", "1m") as small:
        small.make_read_only()
        for path in (small.path, small.path / "cache"):
            unwritable = looked_at(path)["cache.unwritable"]
            assert unwritable.seen == f"the disk of {small.path} is read-only"
            run_cure(unwritable)


def test_no_room(folder: Path) -> None:
    """A copy that is there has to fit once more, with something to spare."""
    with disk(folder / "disk", "6m") as small:
        assert set(looked_at(small.path)) == {"cache.ok"}
        copy_of_a(small.path)
        full = looked_at(small.path)["cache.full"]
        assert full.seen.startswith("the disk is full: ")
        run_cure(full)


def test_what_nobody_uses_is_told_and_its_cure_removes_it(folder: Path) -> None:
    """What was set aside, and the copies of other ranges."""
    copy = copy_of_a(folder / "cache")
    aside = copy.rename(copy.with_name(f"{copy.name}.aside"))
    other = Directory(folder / "cache", None).files_of(OTHER).next()
    other.touch()
    found = looked_at(folder / "cache")
    assert set(found) == {"cache.ok", "cache.set_aside", "cache.other_ranges"}
    assert found["cache.set_aside"].subject == str(aside)
    assert found["cache.set_aside"].seen == "3.0 MiB, written 2 hours ago"
    assert found["cache.other_ranges"].subject == str(other)
    run_cure(found["cache.set_aside"])
    run_cure(found["cache.other_ranges"])
    assert set(looked_at(folder / "cache")) == {"cache.ok"}
