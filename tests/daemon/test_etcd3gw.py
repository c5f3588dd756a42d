"""etcd3gw from PyPI, unchanged, over `serve.listen`: everything that it documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Timer

import pytest
from etcd3gw import exceptions
from etcd3gw.client import Etcd3Client
from etcd3gw.types import Event

from tests.daemon.process import Daemon
from tests.etcd import Etcd

SECONDS = 30.0


@pytest.fixture
def daemon(new_etcd: Etcd, port: int) -> Iterator[Daemon]:
    """A daemon that mirrors all of an etcd with three keys, and lets nobody write."""
    new_etcd.txn_put((f"/a/{name}", name) for name in "xyz")
    settings = {"serve": {"listen": f"127.0.0.1:{port}"}}
    with Daemon(new_etcd.endpoint, prefixes=[""], settings=settings) as daemon:
        yield daemon.wait_for("live")


@pytest.fixture
def reader(daemon: Daemon, port: int) -> Iterator[Etcd3Client]:
    """The client, of that daemon."""
    del daemon
    client = Etcd3Client("127.0.0.1", port, timeout=SECONDS)
    with client.session:
        yield client


@pytest.fixture
def writer(new_etcd: Etcd, port: int) -> Iterator[Etcd3Client]:
    """The client, of a daemon that passes writes on."""
    settings = {"serve": {"listen": f"127.0.0.1:{port}", "write_through": True}}
    with Daemon(new_etcd.endpoint, prefixes=[""], settings=settings) as daemon:
        daemon.wait_for("live")
        client = Etcd3Client("localhost", port, timeout=SECONDS)
        with client.session:
            yield client
        daemon.assert_no_traceback()


@contextmanager
def limited(events: Iterator[Event], cancel: object) -> Iterator[Iterator[Event]]:
    """The events of a watch, which is cancelled in the end, or when it takes too long."""
    assert callable(cancel)
    timer = Timer(SECONDS, cancel)
    timer.start()
    try:
        yield events
    finally:
        timer.cancel()
        cancel()


def told(event: Event) -> tuple[str, bytes, bytes]:
    """What an event says."""
    return event.get("type", "PUT"), event["kv"]["key"], event["kv"].get("value", b"")


def test_what_it_is(reader: Etcd3Client, new_etcd: Etcd) -> None:
    """Status and members are etcd's; the version tells the path."""
    status, direct = reader.status(), new_etcd.ask("/maintenance/status", {})
    assert reader.api_path == "/v3/"
    assert status["version"] == new_etcd.version
    assert status["leader"] == direct["leader"]
    assert status["header"]["cluster_id"] == direct["header"]["cluster_id"]
    [member] = reader.members()
    assert member["clientURLs"] == [new_etcd.endpoint]


def test_reads(reader: Etcd3Client, new_etcd: Etcd) -> None:
    """What etcd itself would answer, and at once what was written to it."""
    assert reader.get("/a/x") == [b"x"]
    assert reader.get("/a/nothing") == []
    new_etcd.put("/a/x", "new")
    assert reader.get("/a/x") == [b"new"]
    direct = Etcd3Client("127.0.0.1", new_etcd.port)
    with direct.session:
        for name in ("ascend", "descend"):
            for target in ("key", "version", "create", "mod", "value"):
                ordered = {"sort_order": name, "sort_target": target}
                assert reader.get_all(**ordered) == direct.get_all(**ordered)  # type: ignore[arg-type]
        assert reader.get_prefix("/a/") == direct.get_prefix("/a/")
        for more in ({"limit": 2}, {"keys_only": True}, {"revision": 2}, {"min_mod_revision": 3}):
            wanted = {"range_end": "/b", "metadata": True, **more}
            assert reader.get("/a/", **wanted) == direct.get("/a/", **wanted)  # type: ignore[call-overload]


def test_watch(reader: Etcd3Client, new_etcd: Etcd) -> None:
    """A key's changes, and none of another's."""
    with limited(*reader.watch("/a/x")) as events:
        new_etcd.put("/a/y", "other")
        new_etcd.put("/a/x", "1")
        new_etcd.delete("/a/x")
        assert [told(event) for event in islice(events, 2)] == [
            ("PUT", b"/a/x", b"1"),
            ("DELETE", b"/a/x", b""),
        ]


def test_watch_prefix(reader: Etcd3Client, new_etcd: Etcd) -> None:
    """From a revision on, with what was held before, in the order that they had; many of them at once."""
    for number in range(50):
        new_etcd.txn_put((f"/a/{name}", f"{number}") for name in "xyz")
    with limited(*reader.watch_prefix("/a/", start_revision=3, prev_kv=True)) as events:
        for number in range(50, 200):
            new_etcd.put("/a/x", f"{number}")
        found = list(islice(events, 300))
    assert [told(event)[2] for event in found] == [
        *(b"%d" % number for number in range(50) for _ in "xyz"),
        *(b"%d" % number for number in range(50, 200)),
    ]
    assert all("prev_kv" in event for event in found)


def test_watch_once(reader: Etcd3Client, new_etcd: Etcd) -> None:
    """One event, or none in time."""
    timer = Timer(0.05, lambda: new_etcd.put("/a/once", "1"))
    timer.start()
    assert told(reader.watch_once("/a/once", timeout=SECONDS)) == ("PUT", b"/a/once", b"1")
    timer.join()
    with pytest.raises(exceptions.WatchTimedOut):
        reader.watch_prefix_once("/b/", timeout=0.05)


def test_a_reader_may_not_write(reader: Etcd3Client, new_etcd: Etcd) -> None:
    """It is told why, and nothing is done."""
    with pytest.raises(exceptions.Etcd3Exception) as refused:
        reader.put("/a/x", "written")
    assert "serve.write_through" in str(refused.value.detail_text)
    assert new_etcd.range("/a/x").kvs[0].value == b"x"


def test_writes(writer: Etcd3Client, new_etcd: Etcd) -> None:
    """Each is done in etcd, and read back from memory at once."""
    assert writer.put("/a", "1")
    assert writer.get("/a", serializable=True) == [b"1"]
    assert writer.create("/b", "1")
    assert not writer.create("/b", "2")
    assert writer.replace("/b", "1", "2")
    assert not writer.replace("/b", "1", "3")
    assert writer.get("/b", serializable=True) == [b"2"]
    assert new_etcd.range("/b").kvs[0].value == b"2"
    put = {"request_put": {"key": "L2M=", "value": "MQ=="}}
    assert writer.transaction({"compare": [], "success": [put], "failure": []})["succeeded"]
    assert writer.delete_prefix("/")
    assert not writer.delete("/a")
    assert writer.get_all() == []


def test_leases_and_locks(writer: Etcd3Client, new_etcd: Etcd) -> None:
    """A lease holds keys and takes them with it; a lock is one's own."""
    lease = writer.lease(ttl=60)
    writer.put("/held", "1", lease)
    assert lease.keys() == [b"/held"]
    assert lease.refresh() == 60
    assert 0 < lease.ttl() <= 60
    assert lease.revoke()
    assert writer.get("/held") == []
    assert new_etcd.range("/held").kvs == []
    lock, other = writer.lock("door", ttl=60), writer.lock("door", ttl=60)
    assert lock.acquire()
    assert not other.acquire()
    assert lock.is_acquired()
    assert lock.refresh() == 60
    assert lock.release()
    assert other.acquire()
