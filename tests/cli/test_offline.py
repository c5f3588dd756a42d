"""`syncd snapshot --offline`: what a daemon, which lives or not, has left on the disk."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import pytest

from syncd.cache import Directory
from syncd.cache.file import File
from syncd.cache.layout import FORMAT, FORMAT_KEY
from syncd.cache.proofs import proof_of
from syncd.cache.reading import Saved, read
from syncd.cli.figures import duration
from syncd.cli.main import main
from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Record
from tests.cache.copies import EPOCH, change_of, edited, empty_store
from tests.cache.disks import disk
from tests.cli.command import SECONDS, SYNCD, Terminal, environment, on_terminal, syncd
from tests.daemon.process import Daemon
from tests.diagnosis.host import as_nobody, needs_root
from tests.etcd import Etcd
from tests.serve.local import target, wait_until
from tests.store.model import read as read_into

PREFIXES = ("/a/", "/b/")
A, B = prefix_range(b"/a/"), prefix_range(b"/b/")

Lines = list[dict[str, Any]]


@dataclass
class Shown:
    """How a command ended, the snapshots that it printed, and what it said."""

    code: int
    snapshots: list[Lines]
    said: str

    @classmethod
    def of(cls, code: int, output: bytes, said: bytes) -> "Shown":
        """Take its output apart."""
        snapshots: list[Lines] = []
        for line in map(json.loads, output.splitlines()):
            if "epoch" in line:
                snapshots.append([])
            snapshots[-1].append(line)
        assert b"Traceback" not in said
        return cls(code, snapshots, said.decode())


Offline = Callable[..., Shown]


@pytest.fixture
def offline(capfdbinary: pytest.CaptureFixture[bytes]) -> Offline:
    """The command, in this process, which is quicker."""

    def run(directory: Path, *arguments: str) -> Shown:
        code = main(["snapshot", "--offline", str(directory), *arguments])
        return Shown.of(code, *capfdbinary.readouterr())

    return run


def as_process(directory: Path, *arguments: str) -> Shown:
    """The command as people run it."""
    done = syncd("snapshot", "--offline", str(directory), *arguments)
    return Shown.of(done.returncode, done.stdout, done.stderr)


def loaded(etcd: Etcd) -> Daemon:
    """A daemon, not started, that is to mirror and keep 1500 keys of /a/, and one of bytes of /b/."""
    etcd.load([(f"/a/{number:04}", "v" * 50) for number in range(1500)])
    etcd.put(b"/b/\n", b"\0\xff")
    daemon = Daemon(etcd.endpoint, PREFIXES)
    daemon.settings["cache"]["directory"] = str(daemon.directory / "cache")
    daemon.write()
    return daemon


def served(daemon: Daemon) -> list[Lines]:
    """The daemon's own snapshots; all of it is on the disk, too."""
    daemon.wait_for("live")
    wait_until(lambda: all(one["cache"]["revision"] for one in daemon.status()["ranges"]), "copies")
    return [daemon.ask(target("snapshot", prefix=prefix)).lines for prefix in PREFIXES]


@pytest.fixture(scope="module")
def left() -> Iterator[tuple[Path, list[Lines]]]:
    """The directory of a daemon that was killed, and what it served."""
    with Etcd() as etcd, loaded(etcd) as daemon:
        own = served(daemon)
        daemon.kill()
        yield daemon.directory / "cache", own


@pytest.fixture
def cache(left: tuple[Path, list[Lines]], tmp_path: Path) -> Path:
    """A copy of that directory, to do with as one likes."""
    return Path(shutil.copytree(left[0], tmp_path / "cache"))


def copy_of(cache: Path, keys: KeyRange = A) -> Path:
    """The file of /a/, or of another range."""
    [path] = Directory(cache, None).files_of(keys).copies()
    return path


def test_it_is_what_the_daemon_serves(new_etcd: Etcd) -> None:
    """Head, records and end of each range, whether the daemon runs, was stopped, or killed."""
    with loaded(new_etcd) as daemon:
        own = served(daemon)
        cache = daemon.directory / "cache"
        assert_same(as_process(cache), own)
        daemon.stop()
        names = sorted(cache.iterdir())
        assert_same(as_process(cache), own)
        assert sorted(cache.iterdir()) == names
        daemon.start()
        served(daemon)
        daemon.kill()
        assert_same(as_process(cache), own)


def assert_same(shown: Shown, own: list[Lines]) -> None:
    """All that the daemon served, with a head of its own, which may be of a later revision."""
    assert (shown.code, shown.said) == (0, "")
    for [head, *rest], [own_head, *own_rest], prefix in zip(shown.snapshots, own, PREFIXES, strict=True):
        assert rest == own_rest
        assert head["age_ms"] >= 0
        assert head["revision"] >= own_head["revision"]
        differs = {"range": prefix, "state": "offline"} | {
            name: head[name] for name in ("age_ms", "revision")
        }
        assert head == own_head | differs


def test_a_daemon_that_writes_meanwhile_and_begins_new_files(new_etcd: Etcd) -> None:
    """Every snapshot is whole, and none is older than the one before."""
    newest = 0
    with loaded(new_etcd) as daemon:
        served(daemon)
        for count in range(4):
            if count == 2:
                daemon.kill()
                daemon.start()
            revision = new_etcd.load([(f"/a/{number:04}", str(count)) for number in range(1000)])
            shown = as_process(daemon.directory / "cache", "/a/")
            assert (shown.code, shown.said) == (0, "")
            [[head, *records, end]] = shown.snapshots
            assert head["count"] == len(records) == end["count"] == 1500
            assert newest <= head["revision"] <= revision
            assert max(record["mod_revision"] for record in records) <= head["revision"]
            newest = head["revision"]


def test_a_daemon_that_writes_in_this_very_moment(
    cache: Path, offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has grown since it was opened: that is no damage."""
    program = (
        "import lmdb, sys; env = lmdb.open(sys.argv[1], subdir=False, max_dbs=2, map_size=1 << 30)\n"
        "with env.begin(write=True) as txn: txn.put(b'more', bytes(1 << 20))"
    )
    opened = lmdb.open

    def grown(path: str, **options: Any) -> lmdb.Environment:
        env = opened(path, **options)
        subprocess.run([sys.executable, "-c", program, path], check=True)
        return env

    monkeypatch.setattr(lmdb, "open", grown)
    shown = offline(cache, "/a/")
    assert (shown.code, shown.said, shown.snapshots[0][0]["count"]) == (0, "", 1500)


@pytest.mark.parametrize(
    ("times", "code", "said"), [(2, 0, ""), (99, 1, "go away before they can be read; try")]
)
def test_copies_that_are_replaced_in_this_very_moment(
    cache: Path, offline: Offline, monkeypatch: pytest.MonkeyPatch, times: int, code: int, said: str
) -> None:
    """There is another one, each time; to look for it has an end."""
    left = times

    def replaced(path: Path, *, shared: bool) -> Saved:
        nonlocal left
        if left:
            left -= 1
            path.rename(Directory(cache, None).files_of(A).next())
        return read(path, shared=shared)

    monkeypatch.setattr("syncd.cli.offline.read", replaced)
    copy_of(cache, B).unlink()
    shown = offline(cache)
    assert (shown.code, len(shown.snapshots)) == (code, 1 - code)
    assert said in shown.said


def test_a_prefix_is_cut_out_of_its_range(
    left: tuple[Path, list[Lines]], cache: Path, offline: Offline
) -> None:
    """As the daemon would; perhaps nothing is there."""
    shown = offline(cache, "/a/001")
    [[head, *rest]] = shown.snapshots
    assert (shown.code, head["range"], head["count"]) == (0, "/a/", 10)
    assert rest == [line for line in left[1][0] if line.get("key", "").startswith("/a/001")] + [
        {"end": True, "count": 10}
    ]
    assert offline(cache, "/b/none").snapshots[0][1:] == [{"end": True, "count": 0}]


@pytest.mark.parametrize("prefix", ["/", "/c/", ""])
def test_a_prefix_that_no_range_covers(cache: Path, offline: Offline, prefix: str) -> None:
    """Exit 1, as when a daemon is asked for it; those that are there are named."""
    shown = offline(cache, prefix)
    assert (shown.code, shown.snapshots) == (1, [])
    assert f"no copy covers '{prefix}'; there are copies of '/a/', '/b/'" in shown.said


def add_copy(cache: Path, keys: KeyRange, revision: int, age: float | None) -> None:
    """A copy of another range, with one record, that was proved current so many seconds ago."""
    store, key = empty_store(keys), keys.key
    read_into(store, revision, EPOCH, [[Record(key, b"x", revision, revision, 1, 0)]])
    path = Directory(cache, None).files_of(keys).next()
    File(path, keys, change_of(store, oldest_revision=revision, proof=proof_of(age))).close()


@pytest.mark.parametrize(
    ("revision", "age", "other"),
    [(9, 60.0, 3600.0), (9, 60.0, None), (8, 60.0, 60.0 + 3600), (10, None, None)],
)
def test_of_several_copies_that_have_it_the_newest_is_read(
    tmp_path: Path, offline: Offline, revision: int, age: float | None, other: float | None
) -> None:
    """The one that was proved last, or has the highest revision; the other one is named."""
    add_copy(tmp_path, prefix_range(b"/a/"), 9, other)
    add_copy(tmp_path, prefix_range(b"/a/b/"), revision, age)
    shown = offline(tmp_path, "/a/b/")
    [[head, record, _]] = shown.snapshots
    assert (shown.code, head["range"], head["revision"], record["key"]) == (0, "/a/b/", revision, "/a/b/")
    when = "at an unknown time" if other is None else f"{duration(other)} ago"
    assert shown.said == (
        f"syncd: there is also a copy of '/a/', last proved current {when}, of the revision 9; "
        "what follows is of '/a/b/', and newer\n"
    )
    assert offline(tmp_path, "/a/").snapshots[0][0]["range"] == "/a/"


@pytest.mark.parametrize("keys", [KeyRange(b"/one"), KeyRange(b"/one", b"/two")])
def test_a_range_is_found_by_its_name(tmp_path: Path, offline: Offline, keys: KeyRange) -> None:
    """One that is a single key, or any interval, is no prefix of that name; it is meant all the same."""
    add_copy(tmp_path, keys, 9, 60.0)
    shown = offline(tmp_path, keys.name)
    [[head, record, end]] = shown.snapshots
    assert (shown.code, shown.said, head["range"]) == (0, "", keys.name)
    assert (record["key"], end["count"]) == ("/one", 1)
    assert offline(tmp_path, "/on").code == 1


def test_what_is_too_old_is_refused(cache: Path, offline: Offline) -> None:
    """Exit 4, and how old it is."""
    assert offline(cache, "/b/", "--max-age", "1h").code == 0
    shown = offline(cache, "/b/", "--max-age", "1ms")
    assert (shown.code, shown.snapshots) == (4, [])
    assert "'/b/' was last proved current " in shown.said


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "overwritten"])
def test_a_damaged_copy(cache: Path, offline: Offline, damage: str) -> None:
    """It is told, exit 1, and left as it is; the other ranges are read all the same."""
    copy = copy_of(cache)
    whole = copy.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "changed": whole.replace(b"v" * 50, b"v" * 49 + b"x"),
        "emptied": b"",
        "overwritten": b"x" * len(whole),
    }[damage]
    copy.write_bytes(damaged)
    shown = offline(cache)
    assert (shown.code, [head["range"] for head, *_ in shown.snapshots]) == (1, ["/b/"])
    assert f"{copy}: it is damaged: " in shown.said
    assert "the daemon reads etcd anew" in shown.said
    assert copy.read_bytes() == damaged
    shown = offline(cache, "/b/")
    assert (shown.code, len(shown.snapshots)) == (0, 1)
    assert f"{copy}: it is damaged: " in shown.said
    assert shown.said.endswith("; whether it is newer than what follows cannot be told\n")
    shown = offline(cache, "/a/")
    assert (shown.code, shown.snapshots) == (1, [])
    assert f"{copy}: it is damaged: " in shown.said
    assert "there are copies of '/b/'" in shown.said


def test_a_copy_of_a_later_version(cache: Path, offline: Offline) -> None:
    """It is not damaged, and another syncd can read it."""
    with edited(copy_of(cache)) as entries:
        entries.txn.put(FORMAT_KEY, b"%d" % (FORMAT + 1))
    shown = offline(cache, "/a/")
    assert (shown.code, shown.snapshots) == (1, [])
    assert f"it has the format {FORMAT + 1}, and this version of syncd knows {FORMAT}" in shown.said
    assert "read it with the syncd that wrote it" in shown.said


def test_the_copy_before_a_damaged_one(cache: Path, offline: Offline) -> None:
    """It is better than nothing, and it is told that it is not the newest."""
    newer = Directory(cache, None).files_of(A).next()
    newer.write_bytes(copy_of(cache).read_bytes()[:20000])
    shown = offline(cache, "/a/")
    assert (shown.code, shown.snapshots[0][0]["count"]) == (0, 1500)
    assert str(newer) in shown.said
    assert "what follows is the copy before it" in shown.said


def test_nothing_there(tmp_path: Path, offline: Offline) -> None:
    """No directory, a file, or one without a copy; each says what to look for."""
    shown = offline(tmp_path / "none")
    assert (shown.code, shown.snapshots) == (1, [])
    assert "cannot be read: No such file or directory; `cache.directory` in the daemon's config" in shown.said
    (tmp_path / "file").touch()
    assert offline(tmp_path / "file").code == 1
    for arguments in ([], ["/a/"]):
        shown = offline(tmp_path, *arguments)
        assert (shown.code, shown.said) == (4, f"syncd: {tmp_path}: there is no copy of any range\n")


def test_a_read_only_disk(cache: Path, tmp_path: Path, offline: Offline) -> None:
    """As after an accident: it can be read, with LMDB's lock file and without."""
    with disk(tmp_path / "disk", "4m") as small:
        for file in cache.iterdir():
            if file.name != f"{copy_of(cache).name}-lock":
                shutil.copy(file, small.path)
        small.make_read_only()
        shown = offline(small.path)
    assert (shown.code, len(shown.snapshots), shown.said) == (0, 2, "")


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_another_user_is_told_so(folder: Path, cache: Path, offline: Offline, mode: int) -> None:
    """The copies are the daemon's alone, also where the directory is not."""
    copied = Path(shutil.copytree(cache, folder / "cache"))
    copied.chmod(mode)
    with as_nobody():
        shown = offline(copied)
    assert (shown.code, shown.snapshots) == (1, [])
    assert "cannot be read: Permission denied; read it as the user that the daemon runs as" in shown.said


def test_a_terminal(cache: Path) -> None:
    """Control characters are escaped as JSON does; who waits for a file sees a bar."""
    code, shown = on_terminal("snapshot", "--offline", str(cache), "/b/", socket="none")
    assert code == 0
    assert json.loads(shown.splitlines()[1])["key"] == "/b/\n"
    terminal = Terminal()
    process = subprocess.Popen(
        [*SYNCD, "snapshot", "--offline", cache, "/a/"],
        stdout=subprocess.PIPE,
        stderr=terminal.slave,
        env=environment(None, {"TERM": "xterm"}),
    )
    terminal.leave()
    output, _ = process.communicate(timeout=SECONDS)
    assert len(output.splitlines()) == 1502
    assert "1500/1500" in terminal.finish()


@pytest.mark.parametrize(
    "options", [[], ["--offline", "/x", "--socket", "/s"], ["--offline", "/x", "--min-revision", "1"]]
)
def test_wrong_usage(options: list[str]) -> None:
    """What makes no sense together is refused, not ignored."""
    with pytest.raises(SystemExit, match="2"):
        main(["snapshot", *options])
