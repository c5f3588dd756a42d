"""The directory: whose it is, who uses it, and which file is whose."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.cache import InUse, Unusable, occupied
from syncd.cache.directory import LOCK
from syncd.cache.errors import Full
from syncd.keyrange import TO_THE_END, KeyRange, prefix_range
from tests.cache.copies import assert_as_it_was, empty_store, loaded, saved
from tests.cache.disks import disk
from tests.diagnosis.host import NOBODY, as_nobody
from tests.store.model import EVERYTHING

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: other users' files (needs root)")


def mode(path: Path) -> int:
    """Who may do what with it."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a directory may be made, by every user: unlike below pytest's own."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        Path(name).chmod(0o777)
        yield Path(name) / "cache"


# The directory itself


def test_it_is_made_for_its_user_alone(path: Path) -> None:
    """With all that it is in; and nobody else may read the files, whatever the umask is."""
    path = path / "of" / "syncd"
    before = os.umask(0)
    try:
        with occupied(path) as directory:
            at, _ = saved(directory.files_of(EVERYTHING))
    finally:
        os.umask(before)
    assert mode(path) == 0o700
    assert {each.name: mode(each) for each in path.iterdir()} == {
        LOCK: 0o600,
        at.name: 0o600,
        f"{at.name}-lock": 0o600,
    }


@pytest.mark.parametrize("others", [0o755, 0o770, 0o777])
def test_one_with_only_our_files_is_shut(path: Path, others: int) -> None:
    """As an administrator may have made it."""
    with occupied(path) as directory:
        saved(directory.files_of(EVERYTHING))
    path.chmod(others)
    with occupied(path):
        assert mode(path) == 0o700


def test_one_with_files_of_others_is_left_as_it_is(path: Path) -> None:
    """Who reads them shall go on to; but where others may write, nothing can be trusted."""
    path.mkdir(mode=0o755)
    (path / "of others").touch()
    with occupied(path):
        assert mode(path) == 0o755
    path.chmod(0o1777)
    with (
        pytest.raises(Unusable, match=r"others may write there \(mode 1777\), and it has files of others"),
        occupied(path),
    ):
        pass


def test_a_link_to_a_directory_is_followed(path: Path) -> None:
    """A disk for it may be mounted elsewhere."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir()
    path.symlink_to(elsewhere)
    with occupied(path):
        assert (elsewhere / LOCK).exists()


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda path: path.touch(), "it is no directory, or a link to none"),
        (lambda path: path.symlink_to("nowhere"), "it is no directory, or a link to none"),
        (lambda path: path.symlink_to(path), "it is no directory, or a link to none"),
        (
            lambda path: (path.mkdir(), (path / LOCK).mkdir()),
            "lock cannot be locked: Is a directory",
        ),
    ],
)
def test_what_is_no_directory(path: Path, prepare: Callable[[Path], object], reason: str) -> None:
    """It is told, and left alone."""
    prepare(path)
    with pytest.raises(Unusable, match=reason) as caught, occupied(path):
        pass
    assert (caught.value.path, caught.value.code) == (path, "cache.unwritable")


@needs_root
def test_what_this_user_may_not_use(path: Path) -> None:
    """One of another user's, even as root; one that cannot be made; one that cannot be listed."""
    path.mkdir()
    os.chown(path, NOBODY, -1)
    with pytest.raises(Unusable, match="it belongs to the user with the uid 65534, not to 0"), occupied(path):
        pass
    with as_nobody():
        path.chmod(0o300)
        with pytest.raises(Unusable, match="it cannot be used: Permission denied"), occupied(path):
            pass
    path.parent.chmod(0o755)
    with as_nobody(), pytest.raises(Unusable, match="Permission denied"), occupied(path.with_name("other")):
        pass


@pytest.mark.parametrize("told", [True, False])
def test_two_processes(path: Path, told: bool) -> None:
    """The second one learns the pid of the first, also when that could not write it down."""
    program = (
        "import sys; from pathlib import Path; from syncd.cache import occupied\n"
        "with occupied(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == b"held\n"
        if not told:
            os.truncate(path / LOCK, 0)
        with pytest.raises(InUse, match=rf"another syncd \(pid {first.pid}\)") as caught, occupied(path):
            pass
        assert caught.value.pid == first.pid
        assert first.stdin
        first.stdin.close()
    with occupied(path):
        pass


# Names


def test_each_range_has_a_name_of_its_own(path: Path) -> None:
    """People see which one it is; the hash tells apart those that look alike."""
    ranges = {
        prefix_range(b"/apisix/"): "apisix",
        KeyRange(b"/apisix/"): "apisix",
        KeyRange(b"/apisix/", TO_THE_END): "apisix",
        prefix_range(b"/apisix-"): "apisix",
        EVERYTHING: "all",
        prefix_range(b"\xff\xfe"): "xff-xfe",
        prefix_range(b"../../x"): "x",
        prefix_range("/schlüssel\n".encode()): "schl-ssel",
        prefix_range(b"/" + b"long" * 100): "long" * 10,
        KeyRange(b"a", b"bc"): "a-bc",
        KeyRange(b"ab", b"c"): "ab-c",
    }
    with occupied(path) as directory:
        names = {keys: directory.files_of(keys).next() for keys in ranges}
        assert len(set(names.values())) == len(names)
        for keys, name in names.items():
            assert re.fullmatch(rf"{ranges[keys]}-[0-9a-f]{{8}}\.1\.lmdb", name.name)
            assert name.parent == path
            name.touch()
        for keys in ranges:
            assert directory.files_of(keys).copies() == [names[keys]]
            assert sorted([*directory.others([keys]), names[keys]]) == sorted(names.values())
        assert directory.others(ranges) == []


def test_what_is_not_ours_is_not_touched(path: Path) -> None:
    """Nor counted, nor told; whatever is called almost like ours."""
    with occupied(path) as directory:
        files = directory.files_of(EVERYTHING)
        at, model = saved(files)
        name = at.name.removesuffix(".1.lmdb")
        strange = [
            "lock.old", f"{name}.9.lmdb.bak", f"{name}.x.lmdb", f"{name}.lmdb", f" {at.name}", f"{at.name}~",
            f"x{at.name}.new.new", os.fsdecode(b"\xff-12345678.1.lmdb"), "ö-12345678.1.lmdb",
        ]  # fmt: skip
        for each in strange:
            (path / each).write_text("precious")
        assert files.next().name == f"{name}.2.lmdb"
        assert directory.others([EVERYTHING]) == []
        new, model = saved(files)
        files.replaced_by(new)
        assert_as_it_was(loaded(files), model)
        assert all((path / each).read_text() == "precious" for each in strange)
        assert files.size() == sum(each.stat().st_size for each in path.glob(f"{new.name}*"))


# Disks


def test_a_full_disk(tmp_path: Path) -> None:
    """It can be occupied all the same; what a copy needs and what is free is told, until there is room."""
    with disk(tmp_path / "disk", "4m") as full:
        full.fill()
        path = full.path / "cache"
        with occupied(path) as directory:
            files = directory.files_of(EVERYTHING)
            with pytest.raises(Full, match="full: 1178576 bytes are needed, 0 are free") as caught:
                files.must_have_room(100_000)
            assert caught.value.code == "cache.full"
            full.clear()
            files.must_have_room(100_000)


def test_a_read_only_disk(tmp_path: Path) -> None:
    """What is there can be used, what cannot be is left where it is; and why nothing is written is told."""
    with disk(tmp_path / "disk", "8m") as small:
        path = small.path / "cache"
        with occupied(path) as directory:
            _, model = saved(directory.files_of(EVERYTHING))
            damaged, _ = saved(directory.files_of(EVERYTHING))
            os.truncate(damaged, 10_000)
        small.make_read_only()
        with occupied(path) as directory:
            assert directory.trouble
            assert directory.trouble.message == "nothing can be written there: Read-only file system"
            store = empty_store()
            with capture_logs() as logs:
                assert directory.files_of(EVERYTHING).load(store)
            assert_as_it_was(store, model)
            (line,) = logs
            assert (line["event"], line["path"]) == ("cache unreadable", str(damaged))
            assert "left where it is: Read-only file system" in line["meaning"]
        with pytest.raises(Unusable, match="Read-only file system"), occupied(small.path / "other"):
            pass
