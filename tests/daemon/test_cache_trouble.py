"""A daemon whose copy on disk is damaged, or cannot be kept: it serves as ever, and says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cache.disks import Disk, disk
from tests.daemon.process import Daemon
from tests.daemon.test_cache import PATIENT, copies, directory, full_reads, wait_until_saved
from tests.etcd import Etcd
from tests.serve.local import wait_until


@pytest.fixture
def cached(new_etcd: Etcd, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon, not started yet, that keeps copies."""
    daemon = Daemon(new_etcd.endpoint)
    keep_in(daemon, tmp_path / "cache")
    try:
        yield daemon
        daemon.assert_no_traceback()
    finally:
        daemon.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that is soon full."""
    with disk(tmp_path / "disk", "6m") as small:
        yield small


def keep_in(daemon: Daemon, path: Path) -> None:
    """Have it keep its copies there."""
    daemon.settings["cache"] = {"directory": str(path)}
    daemon.settings["etcd"]["timeouts"] = PATIENT
    daemon.write()


def works(daemon: Daemon) -> bool:
    """What the metric says to those who watch over it."""
    metrics = daemon.ask("/metrics").body.decode()
    (line,) = [each for each in metrics.splitlines() if each.startswith("syncd_cache_works{")]
    return {"0.0": False, "1.0": True}[line.split()[-1]]


def cache_of(daemon: Daemon, index: int = 0) -> dict[str, Any]:
    """What the status says of a copy."""
    cache: dict[str, Any] = daemon.range_status(index)["cache"]
    return cache


def test_a_damaged_copy(cached: Daemon, new_etcd: Etcd) -> None:
    """With all that crashes may leave: it is set aside and told, the range is read anew, and kept again."""
    revision = new_etcd.txn_put((f"/{i:03}", "x" * 100) for i in range(500))
    cached.start()
    wait_until_saved(cached, revision)
    cached.kill()
    (damaged,) = copies(cached)
    os.truncate(damaged, damaged.stat().st_size // 2)
    contents = damaged.read_bytes()
    for left in (".2.lmdb.new", ".2.lmdb-lock", ".0.lmdb-lock"):
        damaged.with_name(damaged.name.replace(".1.lmdb", left)).write_bytes(Random(1).randbytes(5000))
    cached.start().wait_for("live")
    (line,) = cached.log("cache set aside")
    assert (line["level"], line["code"], line["path"]) == ("error", "cache.damaged", str(damaged))
    aside = Path(line["kept"])
    assert aside.read_bytes() == contents
    assert full_reads(cached) == 1
    wait_until(lambda: cache_of(cached)["commits"], "it is kept again")
    assert works(cached)
    (copy,) = copies(cached)
    assert set(directory(cached).iterdir()) == {
        aside, copy, copy.with_name(f"{copy.name}-lock"), copy.with_name("lock")
    }  # fmt: skip
    cached.kill()
    cached.start().wait_for("live")
    assert full_reads(cached) == 0
    assert len(cached.log("cache set aside")) == 1


def test_another_daemon_uses_the_directory(cached: Daemon, new_etcd: Etcd) -> None:
    """The second one does not start, and tells the first one's pid; that one does not notice."""
    cached.start().wait_for("live")
    second = Daemon(new_etcd.endpoint)
    try:
        keep_in(second, directory(cached))
        second.launch()
        assert second.wait() == 1
        said = second.output_file.read_text() + second.log_text()
        assert f"{directory(cached)}: another syncd (pid {cached.pid}) keeps its copy there" in said
        assert "Traceback" not in said
        wait_until_saved(cached, new_etcd.put("/a", "1"))
        cached.kill()
        second.start().wait_for("live")
    finally:
        second.close()


def test_another_range(cached: Daemon, new_etcd: Etcd) -> None:
    """It is read, and the copy of the one before is told and left; back again, that one is gone on with."""
    revision = new_etcd.txn_put([("/a/1", "1"), ("/b/1", "1")])
    cached.settings["ranges"] = [{"prefix": "/a/"}]
    cached.write()
    cached.start()
    wait_until_saved(cached, revision)
    cached.stop()
    (first,) = copies(cached)
    cached.settings["ranges"] = [{"prefix": "/"}]
    cached.write()
    cached.start().wait_for("live")
    (line,) = cached.log("cache unused")
    assert (line["level"], line["code"], line["path"]) == ("warning", "cache.other_ranges", str(first))
    assert cached.ask("/v1/value?key=/b/1").body == b"1"
    assert cached.range_status()["counters"]["full_reads"] == {"initial": 1}
    wait_until_saved(cached, revision)
    cached.stop()
    assert len(copies(cached)) == 2
    new_etcd.pause()
    cached.settings["ranges"] = [{"prefix": "/a/"}]
    cached.write()
    cached.start()
    answer = cached.ask("/v1/value?key=/a/1")
    assert (answer.body, answer.headers["Syncd-State"]) == (b"1", "warm")
    new_etcd.resume()
    cached.wait_for("live")
    assert full_reads(cached) == 0


def test_a_full_disk_at_the_start(small_disk: Disk, cached: Daemon, new_etcd: Etcd) -> None:
    """Everything is served, and nothing kept, which is told once; when there is room, that is told, too."""
    revision = new_etcd.txn_put((f"/{i:03}", "x" * 100) for i in range(500))
    small_disk.fill()
    keep_in(cached, small_disk.path / "cache")
    cached.start().wait_for("live")
    wait_until(lambda: cache_of(cached)["failures"] >= 2)
    assert not works(cached)
    assert "the disk is full" in cache_of(cached)["error"]
    assert cache_of(cached)["revision"] == 0
    (line,) = cached.log("cache not written")
    assert (line["level"], line["code"], line["range"]) == ("error", "cache.full", "/")
    small_disk.clear()
    wait_until_saved(cached, revision)
    assert works(cached)
    assert len(cached.log("cache works again")) == len(cached.log("cache not written")) == 1


def test_a_disk_that_gets_full(small_disk: Disk, cached: Daemon, new_etcd: Etcd) -> None:
    """What was written before is whole, and a restart begins with it; with room again, all is kept again."""
    new_etcd.txn_put((f"/{i:03}", "x" * 100) for i in range(100))
    keep_in(cached, small_disk.path / "cache")
    revision = new_etcd.put("/a", "before")
    cached.start()
    wait_until_saved(cached, revision)
    small_disk.fill(spare=20_000)
    values = Random(1)
    while not cache_of(cached)["error"]:
        revision = new_etcd.put("/a", values.randbytes(5000).hex())
        cached.wait_for_revision(revision)
    saved = cache_of(cached)["revision"]
    assert not works(cached)
    (line,) = cached.log("cache not written")
    assert (line["code"], line["saved_revision"]) == ("cache.full", saved)
    assert str(small_disk.path) in line["error"]
    cached.wait_for("live")
    cached.kill()
    new_etcd.pause()
    cached.start()
    status = cached.range_status()
    assert (status["state"], status["revision"]) == ("warm", saved)
    new_etcd.resume()
    cached.wait_for("live").wait_for_revision(revision)
    wait_until(lambda: not works(cached))
    small_disk.clear()
    wait_until_saved(cached, revision)
    assert works(cached)
    assert full_reads(cached) == 0
    assert cached.log("cache works again")
    assert cached.stop() == 0


def test_a_read_only_disk(small_disk: Disk, cached: Daemon, new_etcd: Etcd) -> None:
    """What is there is served at once, and is not written any more, which is told."""
    revision = new_etcd.put("/a", "1")
    keep_in(cached, small_disk.path / "cache")
    cached.start()
    wait_until_saved(cached, revision)
    cached.stop()
    small_disk.make_read_only()
    new_etcd.pause()
    cached.start()
    answer = cached.ask("/v1/value?key=/a")
    assert (answer.body, answer.headers["Syncd-State"]) == (b"1", "warm")
    assert not works(cached)
    assert "nothing can be written there: Read-only file system" in cache_of(cached)["error"]
    assert cache_of(cached)["revision"] == revision
    (line,) = cached.log("no disk cache")
    assert (line["level"], line["code"]) == ("error", "cache.unwritable")
    new_etcd.resume()
    cached.wait_for("live").wait_for_revision(new_etcd.put("/a", "2"))
    assert (cached.ask("/v1/value?key=/a").body, full_reads(cached)) == (b"2", 0)
    assert cached.stop() == 0  # so that nobody has a file there open


def test_a_directory_that_cannot_be_trusted(cached: Daemon, new_etcd: Etcd) -> None:
    """Where others may write, nothing is kept and nothing is read; everything is served all the same."""
    directory(cached).mkdir()
    directory(cached).chmod(0o777)
    (directory(cached) / "theirs").touch()
    revision = new_etcd.put("/a", "1")
    cached.start().wait_for("live").wait_for_revision(revision)
    assert cached.ask("/v1/value?key=/a").body == b"1"
    assert not works(cached)
    (line,) = cached.log("no disk cache")
    assert line["code"] == "cache.unwritable"
    assert f"{directory(cached)}: others may write there (mode 0777)" in line["error"]
    assert cache_of(cached)["error"] == line["error"]
    assert [each.name for each in directory(cached).iterdir()] == ["theirs"]
