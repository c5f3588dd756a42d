"""A daemon with a copy on disk: what is served before etcd has answered, and how it goes on from there."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncd.cache.layout import HEAD_KEY, Proof, decode_head, encode_head
from tests.cache.copies import edited
from tests.calls import KeyValue
from tests.daemon.process import HEARTBEAT, Daemon
from tests.daemon.test_reads import replay
from tests.etcd import Etcd
from tests.serve.local import target, wait_until

PATIENT = {"heartbeat": HEARTBEAT, "request": "20s"}
"""An etcd that does not answer is not given up within the test."""


@pytest.fixture
def cached(new_etcd: Etcd) -> Iterator[Daemon]:
    """A daemon, not started yet, that keeps copies in a directory which is not there yet."""
    daemon = Daemon(new_etcd.endpoint)
    daemon.settings["cache"] = {"directory": str(daemon.directory / "var" / "cache")}
    daemon.settings["etcd"]["timeouts"] = PATIENT
    daemon.write()
    try:
        yield daemon
        daemon.assert_no_traceback()
    finally:
        daemon.close()


def directory(daemon: Daemon) -> Path:
    """Where the copies are."""
    return Path(daemon.settings["cache"]["directory"])


def copies(daemon: Daemon) -> list[Path]:
    """The copies."""
    return sorted(directory(daemon).glob("*.lmdb"))


def wait_until_saved(daemon: Daemon, revision: int) -> None:
    """Wait until `revision` is on the disk."""

    def saved() -> bool:
        cache = daemon.range_status()["cache"]
        return cache["error"] is None and cache["revision"] >= revision

    wait_until(saved, f"revision {revision} on the disk")


def full_reads(daemon: Daemon) -> float:
    """How many there were since the start, as the metrics tell."""
    metrics = daemon.ask("/metrics").body.decode()
    counts = [line.split()[1] for line in metrics.splitlines() if line.startswith("syncd_full_reads_total{")]
    assert counts
    return sum(map(float, counts))


def changes(lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The batches of a watch."""
    return (line for line in lines if "progress" not in line)


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_restart_is_not_noticed(cached: Daemon, new_etcd: Etcd, end: str) -> None:
    """It serves what it had before etcd has said anything, and goes on from there; readers miss nothing."""
    new_etcd.txn_put((f"/{i:03}", "x" * 200) for i in range(1000))
    cached.start().wait_for("live")
    begin = cached.ask("/v1/snapshot?prefix=/")
    seen, epoch = begin.revision, begin.headers["Syncd-Epoch"]
    missed = [new_etcd.put("/a", str(i)) for i in range(10)]
    cached.wait_for_revision(missed[-1]).wait_for("live")
    wait_until_saved(cached, missed[-1])
    ended = time.monotonic()
    if end == "stopped":
        assert cached.stop() == 0
    else:
        cached.kill()
    new_etcd.pause()  # it accepts connections, and does not answer
    cached.start()
    began = time.monotonic()
    answer = cached.ask("/v1/value?key=/a")
    assert (answer.status, answer.body, answer.revision) == (200, b"9", missed[-1])
    assert (answer.headers["Syncd-State"], answer.headers["Syncd-Epoch"]) == ("warm", epoch)
    age = int(answer.headers["Syncd-Age-Ms"])
    assert 1000 * (began - ended) <= age < 60_000
    assert cached.ask(f"/v1/value?key=/a&max_age_ms={age // 2}").error["code"] == "too_stale"
    assert cached.ask("/v1/snapshot?prefix=/&max_age_ms=600000").lines[-1] == {"end": True, "count": 1001}
    assert cached.ask("/readyz").status == 200
    with cached.stream("watch", prefix="/", from_=seen, epoch=epoch) as stream:
        lines = changes(stream.documents())
        assert [next(lines)["revision"] for _ in missed] == missed
        assert cached.range_status()["state"] == "warm"
        new_etcd.resume()
        cached.wait_for("live")
        revision = new_etcd.put("/a", "new")
        batch = next(lines)
        assert (batch["revision"], "resync" in batch) == (revision, False)
        assert batch["events"][0]["kv"]["value"] == "new"
    assert cached.range_status()["epoch"] == epoch
    assert full_reads(cached) == 0
    assert cached.log("restored")[-1]["keys"] == 1001


def test_nobody_else_can_read_it(cached: Daemon, new_etcd: Etcd) -> None:
    """The directory is its user's alone, and so are the files; a second one takes the first one's place."""
    revision = new_etcd.put("/a", "1")
    for _ in range(2):
        cached.start()
        wait_until_saved(cached, revision)
        assert stat.S_IMODE(directory(cached).stat().st_mode) == 0o700
        files = list(directory(cached).iterdir())
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert len(files) == 3, files
        status = cached.range_status()["cache"]
        assert status["bytes"] == sum(file.stat().st_size for file in files if file.name != "lock")
        cached.stop()
    assert len(copies(cached)) == 1


def test_started_without_etcd(cached: Daemon, new_etcd: Etcd) -> None:
    """The last state is served, older and older, and it says so; when etcd is back, it is live by itself."""
    revision = new_etcd.txn_put([("/a", "1"), ("/b", "2")])
    cached.start()
    wait_until_saved(cached, revision)
    cached.kill()
    new_etcd.stop()
    cached.start().wait_for("stale")
    status = cached.range_status()
    assert (status["revision"], status["keys"]) == (revision, 2)
    assert new_etcd.endpoint in status["error"]
    wait_until(lambda: cached.range_status()["age_ms"] > status["age_ms"])
    answer = cached.ask("/v1/value?key=/a&max_age_ms=10")
    assert (answer.status, answer.error["code"]) == (503, "too_stale")
    assert "proved" in answer.error["message"]
    assert cached.ask("/v1/value?key=/a&max_age_ms=600000").body == b"1"
    new_etcd.start()
    cached.wait_for("live")
    assert full_reads(cached) == 0
    revision = new_etcd.put("/a", "2")
    assert cached.ask(target("value", key="/a", min_revision=revision, max_age_ms=60_000)).body == b"2"


def with_proof(daemon: Daemon, proof: Proof | None) -> None:
    """Make the copy's last proof another one."""
    (path,) = copies(daemon)
    with edited(path) as entries:
        found = entries.txn.get(HEAD_KEY)
        assert found
        head = decode_head(memoryview(found))
        entries.txn.put(HEAD_KEY, encode_head(msgspec.structs.replace(head, proof=proof)))


def test_the_age_across_boots(cached: Daemon, new_etcd: Etcd) -> None:
    """It goes on by the wall clock; when that has gone back nobody knows it, and whoever asks is refused."""
    revision = new_etcd.put("/a", "1")
    cached.start()
    wait_until_saved(cached, revision)
    cached.kill()
    new_etcd.pause()
    with_proof(cached, Proof(time.time() - 5_000_000, "another boot", 1e9))
    for _ in range(2):  # what the first one writes as it stops, the second one begins with
        cached.start()
        answer = cached.ask("/v1/value?key=/a")
        assert answer.headers["Syncd-State"] == "warm"
        assert 5_000_000_000 <= int(answer.headers["Syncd-Age-Ms"]) < 5_000_060_000
        assert cached.stop() == 0
    with_proof(cached, Proof(time.time() + 5_000_000, "another boot", 0.0))
    cached.start()
    answer = cached.ask("/v1/value?key=/a")
    assert (answer.body, answer.headers["Syncd-State"]) == (b"1", "warm")
    assert "Syncd-Age-Ms" not in answer.headers
    assert cached.range_status()["age_ms"] is None
    assert cached.ask(f"/v1/value?key=/a&max_age_ms={10**12}").error["code"] == "too_stale"
    new_etcd.resume()
    cached.wait_for("live")
    assert cached.ask("/v1/value?key=/a&max_age_ms=60000").body == b"1"
    assert full_reads(cached) == 0


@pytest.mark.parametrize("what", ["compacted", "wiped", "another cluster"])
def test_history_that_is_lost_meanwhile(cached: Daemon, new_etcd: Etcd, what: str) -> None:
    """Readers go on with what the copy has, and are told the difference; another history is another epoch."""
    new_etcd.txn_put((f"/{i:03}", "old") for i in range(100))
    cached.start().wait_for("live")
    begin = cached.ask("/v1/snapshot?prefix=/")
    state: dict[bytes, KeyValue] = {}
    for record in begin.lines[1:-1]:
        replay(state, {"events": [{"type": "put", "kv": record}]})
    epoch, old = begin.headers["Syncd-Epoch"], begin.revision
    wait_until_saved(cached, old)
    cached.kill()
    if what != "compacted":
        new_etcd.kill()
        new_etcd.wipe(new_cluster_id=what == "another cluster")
        new_etcd.start()
    new_etcd.txn_put((f"/{i:03}", "new") for i in range(50, 150))
    revision = new_etcd.delete_prefix("/00")
    new_etcd.compact(revision)
    new_etcd.pause()
    cached.start()
    with cached.stream("watch", prefix="/", from_=old, epoch=epoch) as stream:
        lines = changes(stream.documents())
        new_etcd.resume()
        batch = next(lines)
        assert batch["resync"]
        assert (batch["epoch"] == epoch) == (what == "compacted")
        replay(state, batch)
        while batch["revision"] < revision:
            replay(state, batch := next(lines))
        assert sorted(state.values()) == sorted(new_etcd.range_prefix("/").kvs)
    cached.wait_for("live")
    reason = "compacted" if what == "compacted" else "epoch"
    assert cached.range_status()["counters"]["full_reads"] == {reason: 1}
    assert cached.log("read")[-1]["reason"] == reason
    # The next one goes on from the new state.
    wait_until(lambda: cached.range_status()["cache"]["commits"], "it is on the disk")
    epoch = cached.range_status()["epoch"]
    cached.kill()
    cached.start().wait_for("live")
    assert (cached.range_status()["epoch"], full_reads(cached)) == (epoch, 0)
