"""etcd away: what is served, what is said, and how it goes on when it is back."""

import time
from signal import SIGCONT, SIGSTOP

import pytest

from tests.calls import KeyValue
from tests.daemon.process import Daemon
from tests.daemon.test_reads import replay
from tests.etcd import Etcd
from tests.serve.local import target, wait_until


def test_cold(new_etcd: Etcd) -> None:
    """etcd was never there: nothing to serve, said with the reason; ready as soon as it is."""
    new_etcd.put("/a", "1")
    new_etcd.stop()
    with Daemon(new_etcd.endpoint) as daemon:
        wait_until(lambda: daemon.range_status()["error"])
        for call in ("/v1/value?key=/a", "/v1/snapshot?prefix=/", "/v1/watch?prefix=/", "/readyz"):
            answer = daemon.ask(call)
            assert (answer.status, answer.error["code"]) == (503, "not_ready")
            assert new_etcd.endpoint in answer.error["message"]
            assert (answer.headers["Syncd-State"], answer.revision) == ("cold", 0)
        assert daemon.ask("/healthz").status == 200
        assert daemon.range_status()["state"] == "cold"
        new_etcd.start()
        wait_until(lambda: daemon.ask("/readyz").status == 200)
        assert daemon.ask("/v1/value?key=/a").body == b"1"
        daemon.assert_no_traceback()


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_away_and_back(daemon: Daemon, new_etcd: Etcd, how: str) -> None:
    """Served all the time, older and older, and it says so; then live again by resuming, not by reading."""
    new_etcd.txn_put([("/a", "1"), ("/b", "2")])
    revision = new_etcd.put("/a", "3")
    daemon.wait_for_revision(revision).wait_for("live")
    with daemon.stream("watch", prefix="/", heartbeat_ms=100) as stream:
        documents = stream.documents()
        if how == "killed":
            new_etcd.kill()
        else:
            new_etcd.pause()
        daemon.wait_for("stale")
        wait_until(lambda: daemon.range_status()["error"])
        ages = []
        for _ in range(3):
            answer = daemon.ask("/v1/value?key=/a")
            assert (answer.status, answer.body, answer.headers["Syncd-State"]) == (200, b"3", "stale")
            ages.append(int(answer.headers["Syncd-Age-Ms"]))
            age_ms = daemon.range_status()["age_ms"]
            wait_until(lambda age_ms=age_ms: daemon.range_status()["age_ms"] > age_ms + 50)  # type: ignore[misc]
        assert ages == sorted(ages)
        assert ages[-1] > ages[0]
        assert daemon.ask("/v1/snapshot?prefix=/&max_age_ms=100000").status == 200
        assert daemon.ask("/v1/snapshot?prefix=/&max_age_ms=10").error["code"] == "too_stale"
        began = time.monotonic()
        for query in ("linearizable=true", f"min_revision={revision + 1}"):
            answer = daemon.ask(f"/v1/value?key=/a&wait_ms=300&{query}")
            assert (answer.status, answer.error["code"]) == (503, "too_stale")
        assert time.monotonic() - began < 2
        assert daemon.ask("/readyz").status == 200
        assert 'syncd_range_state{range="/",state="stale"} 1.0' in daemon.ask("/metrics").body.decode()
        wait_until(lambda: next(documents).get("state") == "stale")  # the reader of the watch is told too
        if how == "killed":
            new_etcd.start()
        else:
            new_etcd.resume()
        daemon.wait_for("live")
        revision = new_etcd.put("/a", "4")
        assert daemon.ask(target("value", key="/a", min_revision=revision)).body == b"4"
        batch = next(line for line in documents if "progress" not in line)
        assert (batch["revision"], "resync" in batch) == (revision, False)
        wait_until(lambda: daemon.range_status()["error"] is None, "the error is history")
        status = daemon.range_status()
        assert status["counters"]["full_reads"] == {"initial": 1}
        assert sum(status["counters"]["watch_reconnects"].values()) >= 1
    daemon.assert_no_traceback()


def test_the_log_of_an_outage_is_short(daemon: Daemon, new_etcd: Etcd) -> None:
    """However often it is tried meanwhile, one line says that etcd is lost, and one that it is back."""
    new_etcd.kill()
    wait_until(lambda: daemon.status()["etcd"]["endpoints"][0]["failures"] >= 5)
    new_etcd.start()
    daemon.wait_for("live")
    daemon.wait_for_log("live")
    assert daemon.status()["etcd"]["endpoints"][0]["failures"] == 0
    assert sum(daemon.range_status()["counters"]["watch_reconnects"].values()) == 1
    warnings = [line for line in daemon.log() if line["level"] == "warning"]
    assert 1 <= len(warnings) <= 3, warnings
    assert {line["event"] for line in warnings} == {"etcd lost"}
    assert len({line["reason"] for line in warnings}) == len(warnings)
    assert len(daemon.log("live")) == 1
    daemon.assert_no_traceback()


@pytest.mark.parametrize("new_cluster", [False, True])
def test_what_was_lost_is_announced(daemon: Daemon, new_etcd: Etcd, new_cluster: bool) -> None:
    """etcd compacted away what the daemon missed, or was replaced: readers get the difference as a resync."""
    new_etcd.txn_put((f"/{i:03}", "old") for i in range(100))
    with daemon.stream("watch", prefix="/", snapshot=True) as stream:
        documents = (line for line in stream.documents() if "progress" not in line)
        state: dict[bytes, KeyValue] = {}
        head = next(documents)
        if head["count"]:
            for _ in range(head["count"]):
                replay(state, {"events": [{"type": "put", "kv": next(documents)}]})
            next(documents)
        else:  # the snapshot was faster than the event
            next(documents)
            replay(state, next(documents))
        assert len(state) == 100
        daemon.signal(SIGSTOP)
        new_etcd.kill()
        if new_cluster:
            new_etcd.wipe(new_cluster_id=True)
        new_etcd.start()
        new_etcd.txn_put((f"/{i:03}", "new") for i in range(50, 150))
        revision = new_etcd.delete_prefix("/00")
        new_etcd.compact(revision)
        daemon.signal(SIGCONT)
        batch = next(documents)
        assert batch["resync"]
        assert (batch["epoch"] != head["epoch"]) == new_cluster
        replay(state, batch)
        while batch["revision"] < revision:
            replay(state, batch := next(documents))
        assert sorted(state.values()) == sorted(new_etcd.range_prefix("/").kvs)
        revision = new_etcd.put("/last", "x")
        batch = next(documents)
        assert (batch["revision"], "resync" in batch) == (revision, False)
    reasons = daemon.range_status()["counters"]["full_reads"]
    assert reasons == {"initial": 1, "epoch" if new_cluster else "compacted": 1}
    if new_cluster:
        answer = daemon.ask(target("watch", prefix="/", from_=head["revision"], epoch=head["epoch"]))
        assert (answer.status, answer.error["code"]) == (410, "compacted")
    daemon.assert_no_traceback()


def test_a_tag_of_a_daemon_before_never_matches(daemon: Daemon, new_etcd: Etcd) -> None:
    """Wiped while no daemon ran, etcd has another value at the same revision: what was kept must not be."""
    written = new_etcd.put("/a", "old")
    daemon.wait_for_revision(written).wait_for("live")
    calls = ("/v1/value?key=/a", "/v1/snapshot?prefix=/")
    tags = [daemon.ask(call).headers["ETag"] for call in calls]
    daemon.kill()
    new_etcd.begin_anew()
    assert new_etcd.put("/a", "new") == written
    daemon.start().wait_for("live")
    for call, tag in zip(calls, tags, strict=True):
        answer = daemon.ask(call, If_None_Match=tag)
        assert (answer.status, answer.revision) == (200, written)
        assert b"new" in answer.body
