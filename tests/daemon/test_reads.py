"""What the daemon serves is what etcd holds: compared with etcd's own answers at the same revision."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.calls import KeyValue
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import record_bytes, target, wait_until

Document = dict[str, Any]


def key_value(record: Document) -> KeyValue:
    """A record of the local API as tests' calls to etcd give it."""
    numbers = ("create_revision", "mod_revision", "version", "lease")
    return KeyValue(
        record_bytes(record, "key"), record_bytes(record, "value"), *(int(record[name]) for name in numbers)
    )


def replay(state: dict[bytes, KeyValue], batch: Document) -> None:
    """Take the events of a batch over."""
    for event in batch["events"]:
        key = record_bytes(event["kv"], "key")
        if event["type"] == "delete":
            assert state.pop(key, None) or batch.get("resync"), f"{key!r} was not there"
        else:
            state[key] = key_value(event["kv"])


@contextmanager
def writing(etcd: Etcd, prefix: str, writers: int = 3, seed: int = 1) -> Iterator[None]:
    """Put, delete, and change several keys at once, in several threads, all the time."""
    done = threading.Event()

    def write(draw: random.Random) -> None:
        while not done.is_set():
            names = [f"{prefix}{draw.randrange(200):03}" for _ in range(draw.randint(1, 6))]
            match draw.randrange(4):
                case 0:
                    etcd.delete(names[0])
                case 1:
                    etcd.delete_prefix(names[0][:-1])
                case _:
                    etcd.txn_put((name, draw.randbytes(draw.randrange(100))) for name in set(names))

    with ThreadPoolExecutor(writers) as pool:
        tasks = [pool.submit(write, random.Random(seed + i)) for i in range(writers)]
        try:
            yield
        finally:
            done.set()
        for task in tasks:
            task.result()


def test_values_of_any_kind(daemon: Daemon, new_etcd: Etcd) -> None:
    """Bytes, nothing, a megabyte, with a lease: as in etcd."""
    lease = int(new_etcd.ask("/lease/grant", {"TTL": 1000})["ID"])
    for key, value in {b"/\xff\0": b"\0\xff", b"/e": b"", b"/m": bytes(range(256)) * 4096}.items():
        revision = new_etcd.put(key, value, lease)
        answer = daemon.ask(target("value", key=key, min_revision=revision))
        assert answer.body == value
        assert answer.headers["ETag"] == f'"{revision}-{answer.headers["Syncd-Epoch"]}"'
        assert answer.headers["Syncd-Lease"] == str(lease)
    _, *records, _ = daemon.ask(target("snapshot", prefix="/")).lines
    assert [key_value(record) for record in records] == new_etcd.range_prefix("/").kvs


def test_reading_what_was_just_written(daemon: Daemon, new_etcd: Etcd) -> None:
    """A put's revision is a promise that a read keeps, soon, for many writers at once."""

    def write_and_read(name: str) -> None:
        for i in range(25):
            revision = new_etcd.put(f"/{name}", str(i))
            answer = daemon.ask(target("value", key=f"/{name}", min_revision=revision))
            assert answer.body == str(i).encode()
            assert answer.revision >= revision

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_read, "abcd"))


def test_waiting_in_a_quiet_range(new_etcd: Etcd) -> None:
    """A revision that changed only other keys is reached by asking etcd, long before the next heartbeat."""
    settings = {"etcd": {"endpoints": [new_etcd.endpoint], "timeouts": {"heartbeat": "10m"}}}
    with Daemon(settings=settings, prefixes=["/quiet/"]) as daemon:
        daemon.wait_for("live")
        for _ in range(10):
            revision = new_etcd.put("/other", "x")
            answer = daemon.ask(target("value", key="/quiet/x", min_revision=revision))
            assert (answer.status, answer.revision >= revision) == (404, True)
            revision = new_etcd.put("/other", "x")
            answer = daemon.ask(target("snapshot", prefix="/quiet/", linearizable=True))
            assert (answer.status, answer.revision >= revision) == (200, True)


def test_impatience_does_not_cost_the_stream(new_etcd: Etcd) -> None:
    """Any number of readers that wait for revisions is no reason to open the watch anew."""
    with Daemon(new_etcd.endpoint, ["/quiet/"]) as daemon:
        daemon.wait_for("live")

        def read(_: int) -> None:
            for _ in range(25):
                revision = new_etcd.put("/other", "x")
                assert daemon.ask(target("snapshot", prefix="/quiet/", min_revision=revision)).status == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(8)))
        assert daemon.range_status()["counters"]["watch_reconnects"] == {}


def test_snapshots_under_writes(new_etcd: Etcd) -> None:
    """Each of many snapshots is what etcd held at its revision, whole, and never older than the last one."""
    with Daemon(new_etcd.endpoint, ["/w/"]) as daemon:
        daemon.wait_for("live")
        taken: list[list[Document]] = []
        with writing(new_etcd, "/w/"):

            def take() -> bool:
                with daemon.stream("snapshot", prefix="/w/") as stream:
                    taken.append(list(stream.documents()))
                    assert stream.ended
                    assert int(stream.headers["Syncd-Revision"]) == taken[-1][0]["revision"]
                return len(taken) >= 40 and len({head["revision"] for head, *_ in taken}) > 10

            wait_until(take, "40 snapshots, and more than 10 different ones")
        revisions = [head["revision"] for head, *_ in taken]
        assert revisions == sorted(revisions)
        for head, *records, end in taken:
            expected = new_etcd.range_prefix("/w/", revision=head["revision"])
            assert [key_value(record) for record in records] == expected.kvs
            assert head["count"] == end["count"] == len(records)
        daemon.assert_no_traceback()


def test_a_part_of_it(daemon: Daemon, new_etcd: Etcd) -> None:
    """A sub-prefix, a key, only keys."""
    new_etcd.txn_put((f"/p/{i:04}", f"{i}") for i in range(1000))
    revision = new_etcd.put("/q", "x")
    parts = [("prefix", "/p/01", 100), ("prefix", "/p/", 1000), ("prefix", "/q", 1), ("prefix", "/z", 0)]
    for how, name, count in [*parts, ("key", "/p/0500", 1), ("key", "/p/", 0)]:
        for keys_only in (False, True):
            call = target("snapshot", min_revision=revision, keys_only=keys_only, **{how: name})
            head, *records, end = daemon.ask(call).lines
            assert (head["count"], len(records), end["count"]) == (count, count, count)
            assert all(("value" in record) != keys_only for record in records)
            assert [r["key"] for r in records] == sorted(r["key"] for r in records)


def test_watches_under_writes(new_etcd: Etcd) -> None:
    """Snapshot and replay make what etcd holds, at every step: no gap and no overlap, for each of many."""
    with Daemon(new_etcd.endpoint, ["/w/"]) as daemon, ExitStack() as stack:
        daemon.wait_for("live")
        with writing(new_etcd, "/w/"):
            wait_until(lambda: daemon.range_status()["keys"] > 20)
            streams = [
                stack.enter_context(daemon.stream("watch", prefix="/w/", snapshot=True)) for _ in range(8)
            ]
            wait_until(lambda: daemon.range_status()["counters"]["events_applied"] > 3000)
        last = new_etcd.put("/w/last", "x")
        for stream in streams:
            documents = stream.documents()
            revision, count = (head := next(documents))["revision"], head["count"]
            state = {kv.key: kv for kv in (key_value(next(documents)) for _ in range(count))}
            assert next(documents) == {"end": True, "count": count}
            steps = 0
            while revision < last:
                batch = next(documents)
                if "progress" in batch:
                    assert batch["revision"] >= revision
                    continue
                assert batch["revision"] > revision
                assert {kv["mod_revision"] for kv in (e["kv"] for e in batch["events"])} == {
                    batch["revision"]
                }
                revision = batch["revision"]
                replay(state, batch)
                steps += 1
                if steps % 50 == 1 or revision == last:
                    expected = new_etcd.range_prefix("/w/", revision=revision).kvs
                    assert sorted(state.values()) == sorted(expected)
            assert steps > 50
        daemon.assert_no_traceback()


def test_resuming_under_writes(new_etcd: Etcd) -> None:
    """A reader that is cut off again and again and resumes from its bookmark misses nothing."""
    with Daemon(new_etcd.endpoint, ["/w/"]) as daemon:
        daemon.wait_for("live")
        draw = random.Random(5)
        state: dict[bytes, KeyValue] = {}
        bookmark, epoch = daemon.range_status()["revision"], daemon.range_status()["epoch"]
        with writing(new_etcd, "/w/"):
            for _ in range(60):
                with daemon.stream("watch", prefix="/w/", from_=bookmark, epoch=epoch) as stream:
                    documents = stream.documents()
                    for _ in range(draw.randint(1, 20)):
                        line = next(documents)
                        assert line["revision"] > bookmark or "progress" in line
                        bookmark = line["revision"]
                        replay(state, line if "events" in line else {"events": []})
        assert sorted(state.values()) == sorted(new_etcd.range_prefix("/w/", revision=bookmark).kvs)
        wait_until(lambda: daemon.status()["readers"] == 0)
        daemon.assert_no_traceback()


def test_readers_that_do_not_read(new_etcd: Etcd) -> None:
    """They cost the daemon next to nothing, and others no time; when they read again they get a resync."""
    settings = {"history": {"events": 100}, "log": {"level": "info"}}
    with Daemon(new_etcd.endpoint, ["/w/"], settings) as daemon, ExitStack() as stack:
        daemon.wait_for("live")
        stuck = [stack.enter_context(daemon.stream("watch", prefix="/w/")) for _ in range(40)]
        good = stack.enter_context(daemon.stream("watch", prefix="/w/")).documents()
        value = random.Random(1).randbytes(20_000).hex()
        before = daemon.resident_bytes()
        for i in range(1_000):
            revision = new_etcd.put(f"/w/{i % 50}", value)
            while (line := next(good))["revision"] < revision or "progress" in line:
                assert "resync" not in line
        # 40 MB went by. Kept are 100 events, some 50 values, and some 100 KB a reader.
        assert daemon.resident_bytes() - before < 40 << 20
        for stream in stuck[:3]:
            state: dict[bytes, KeyValue] = {}
            for line in stream.documents():
                if "progress" not in line:
                    replay(state, line)
                if line["revision"] >= revision:
                    break
                resynced = "resync" in line
            assert resynced or "resync" in line
            assert sorted(state.values()) == sorted(new_etcd.range_prefix("/w/").kvs)
        daemon.assert_no_traceback()


def test_many_readers_that_come_and_go(daemon: Daemon, new_etcd: Etcd) -> None:
    """Hundreds of watches at once all get every batch; those that hang up at any moment are forgotten."""
    with ExitStack() as stack:
        streams = [stack.enter_context(daemon.stream("watch", prefix="/")) for _ in range(300)]
        wait_until(lambda: daemon.status()["readers"] == 300)
        revisions = [new_etcd.put("/a", str(i)) for i in range(5)]
        for stream in streams[::2]:
            stream.close()
        revisions += [new_etcd.put("/a", str(i)) for i in range(5)]
        for stream in streams[1::2]:
            documents = (line for line in stream.documents() if "progress" not in line)
            assert [next(documents)["revision"] for _ in revisions] == revisions
    wait_until(lambda: daemon.status()["readers"] == 0)
    daemon.assert_no_traceback()


def test_too_old(new_etcd: Etcd) -> None:
    """410 with the oldest revision from which one can go on; going on from there works."""
    with Daemon(new_etcd.endpoint, settings={"history": {"events": 3}}) as daemon:
        daemon.wait_for("live")
        first = daemon.range_status()["revision"]
        revisions = [new_etcd.put("/a", str(i)) for i in range(10)]
        daemon.wait_for_revision(revisions[-1])
        answer = daemon.ask(target("watch", prefix="/", from_=first))
        assert (answer.status, answer.error["code"]) == (410, "compacted")
        oldest = answer.error["oldest_revision"]
        assert oldest == revisions[-4] == daemon.range_status()["history"]["oldest_revision"]
        assert daemon.ask(target("watch", prefix="/", from_=oldest - 1)).status == 410
        with daemon.stream("watch", prefix="/", from_=oldest) as stream:
            documents = stream.documents()
            assert [next(documents)["revision"] for _ in range(3)] == revisions[-3:]


def test_metrics_and_status(new_etcd: Etcd) -> None:
    """Both tell the truth about two ranges, under the names that are promised."""
    new_etcd.txn_put([("/1/a", "x"), ("/1/b", "y"), ("/2", "z")])
    with Daemon(new_etcd.endpoint, ["/1/"]) as daemon:
        daemon.stop()
        daemon.settings["ranges"].append({"key": "/2"})
        daemon.write()
        daemon.start().wait_for("live")
        revision = new_etcd.put("/1/a", "new")
        daemon.wait_for_revision(revision)
        with daemon.stream("watch", prefix="/1/"):
            body = daemon.ask("/metrics").body.decode()
            status = daemon.status()
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }
        assert status["readers"] == samples[("syncd_readers",)] == 1
        assert [r["range"] for r in status["ranges"]] == ["/1/", "/2"]
        for r in status["ranges"]:
            name = r["range"]
            assert samples["syncd_range_state", name, "live"] == 1
            assert sum(samples["syncd_range_state", name, s] for s in ("cold", "warm", "live", "stale")) == 1
            assert revision <= samples["syncd_range_revision", name] <= r["revision"]
            assert samples["syncd_range_keys", name] == r["keys"] == (2 if name == "/1/" else 1)
            assert 0 <= samples["syncd_range_age_seconds", name] < 10
            assert samples["syncd_full_reads_total", name, "initial"] == 1
            assert samples["syncd_events_applied_total", name] == (1 if name == "/1/" else 0)
            assert r["counters"]["full_reads"] == {"initial": 1}
            assert r["endpoint"] == new_etcd.endpoint
        [endpoint] = status["etcd"]["endpoints"]
        assert endpoint == {
            "url": new_etcd.endpoint,
            "version": new_etcd.version,
            "current": True,
            "failures": 0,
            "quarantine": None,
        }
        assert status["pid"] == daemon.pid
