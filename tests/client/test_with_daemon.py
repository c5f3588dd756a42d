"""The client against a real daemon and a real etcd: what an application sees."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syncd.client import (
    Bookmark,
    Client,
    ClosingError,
    CompactedError,
    Connected,
    ConnectError,
    CutError,
    NotFoundError,
    NotMirroredError,
    NotReadyError,
    Progress,
    SilenceError,
    SnapshotEnd,
    SnapshotHead,
    TooStaleError,
    Watch,
)
from syncd.records import Batch, Record
from tests.daemon.process import Daemon
from tests.etcd import Etcd

ODD = {
    b"/odd/\xff\x00\n": b"\x00\xff\x1b[2J",
    "/odd/käse & co?=%#+".encode(): b"",
    b"/odd/large": b"x" * 1_000_000,
}


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    """Give a client of that daemon."""
    with Client(str(daemon.socket)) as reader:
        yield reader


def next_batch(watch: Watch) -> Batch:
    """Wait for the next batch."""
    return next(message for message in watch if isinstance(message, Batch))


def test_a_key_of_any_bytes_is_read_as_it_is_in_etcd(new_etcd: Etcd, client: Client) -> None:
    """Key, value and revisions are etcd's; any bytes come through."""
    for key, value in ODD.items():
        revision = new_etcd.put(key, value)
        found = client.get(key, min_revision=revision)
        assert found.record == Record(key, value, revision, revision, 1, 0)
        assert found.freshness.revision >= revision
        assert found.freshness.state == "live"


def test_a_snapshot_is_the_whole_range_at_one_revision(new_etcd: Etcd, client: Client) -> None:
    """All records, and in a list of keys all keys, in etcd's order."""
    revision = new_etcd.txn_put([*ODD.items(), (b"/other", b"x")])
    with client.snapshot(b"/odd/", min_revision=revision) as snapshot:
        records = list(snapshot)
        assert snapshot.freshness.revision == revision
    assert [(one.key, one.value) for one in records] == sorted(ODD.items())
    with client.snapshot(b"/odd/", keys_only=True) as snapshot:
        assert [(one.key, one.value) for one in snapshot] == [(key, b"") for key in sorted(ODD)]


def test_a_key_that_is_not_there_is_not_found(client: Client) -> None:
    """Which is not the same as a key that is not mirrored."""
    with pytest.raises(NotFoundError):
        client.get("/nothing")
    with pytest.raises(NotMirroredError):
        client.get("elsewhere")


def test_a_linearizable_read_sees_the_last_write(new_etcd: Etcd, client: Client) -> None:
    """The daemon asks etcd where it is, and waits until it has come as far."""
    for count in range(10):
        new_etcd.put("/k", str(count))
        assert client.get("/k", linearizable=True).record.value == str(count).encode()


def test_a_revision_that_does_not_come_is_too_stale(new_etcd: Etcd, client: Client) -> None:
    """After the time one wanted to wait."""
    revision = new_etcd.put("/k", "v")
    with pytest.raises(TooStaleError):
        client.get("/k", min_revision=revision + 100, wait=0.05)


def test_a_batch_has_all_that_one_revision_changed(new_etcd: Etcd, client: Client) -> None:
    """Puts in one transaction arrive together, with what was there before if one asks for it."""
    new_etcd.put("/a", "old")
    client.get("/a", linearizable=True)
    with client.watch("/", prev_kv=True) as watch:
        revision = new_etcd.txn_put([("/a", "new"), ("/b", "new")])
        batch = next_batch(watch)
        assert (batch.revision, batch.resync) == (revision, False)
        assert [(one.kv.key, one.prev.value if one.prev else None) for one in batch.events] == [
            (b"/a", b"old"),
            (b"/b", None),
        ]
        deleted = new_etcd.delete("/a")
        event = next_batch(watch).events[0]
        assert (event.deleted, event.kv.key, event.kv.mod_revision) == (True, b"/a", deleted)


def test_an_idle_watch_hears_progress(client: Client) -> None:
    """As often as it asked for, with the range's state."""
    with client.watch("/", heartbeat=0.1) as watch:
        message = next(told for told in watch.messages() if not isinstance(told, Connected))
        assert isinstance(message, Progress)
        assert message.state == "live"
        assert message.age_ms is not None
        assert watch.bookmark == Bookmark(message.revision, message.epoch)


def test_a_watch_resumes_without_a_gap(new_etcd: Etcd, client: Client) -> None:
    """What happened while nobody watched comes first."""
    with client.watch("/") as watch:
        new_etcd.put("/k", "1")
        next_batch(watch)
        bookmark = watch.bookmark
    revisions = [new_etcd.put("/k", str(count)) for count in range(5)]
    with client.watch("/", after=bookmark) as watch:
        assert [next_batch(watch).revision for _ in revisions] == revisions


def test_a_watch_that_begins_with_a_snapshot_goes_on_after_it(new_etcd: Etcd, client: Client) -> None:
    """Head, records, end, then changes."""
    revision = new_etcd.put("/k", "1")
    client.get("/k", min_revision=revision)
    with client.watch("/", with_snapshot=True) as watch:
        messages = iter(watch)
        head = next(messages)
        assert isinstance(head, SnapshotHead)
        assert (head.revision, head.count) == (revision, 1)
        assert next(messages) == Record(b"/k", b"1", revision, revision, 1, 0)
        assert next(messages) == SnapshotEnd(1)
        after = new_etcd.put("/k", "2")
        assert next_batch(watch).revision == after


def test_a_revision_before_the_history_is_compacted(new_etcd: Etcd) -> None:
    """And the error tells from where a watch could begin."""
    new_etcd.put("/k", "1")
    with Daemon(new_etcd.endpoint) as daemon:
        with pytest.raises(CompactedError) as caught:
            Client(str(daemon.wait_for("live").socket)).watch("/", after=1).open()
        assert caught.value.oldest_revision is not None


def test_reads_survive_a_restart_of_the_daemon(new_etcd: Etcd, daemon: Daemon, client: Client) -> None:
    """The client makes another connection by itself."""
    revision = new_etcd.put("/k", "1")
    assert client.get("/k", min_revision=revision).record.value == b"1"
    assert daemon.stop() == 0
    daemon.start().wait_for("live")
    assert client.get("/k").record.value == b"1"


def test_a_daemon_that_stops_takes_leave_and_no_bookmark_outlives_it(daemon: Daemon, client: Client) -> None:
    """The next one keeps nothing of the past, and cannot know whether etcd was wiped meanwhile."""
    with client.watch("/", resume=False) as watch:
        daemon.stop()
        with pytest.raises(ClosingError):
            list(watch)
    bookmark = watch.bookmark
    assert bookmark is not None
    daemon.start().wait_for("live")
    with pytest.raises(CompactedError), client.watch("/", after=bookmark):
        pass


def test_a_daemon_that_is_killed_is_noticed(daemon: Daemon, client: Client) -> None:
    """A watch is cut, and then there is nobody."""
    with client.watch("/", resume=False) as watch:
        daemon.kill()
        with pytest.raises(CutError):
            list(watch)
    with pytest.raises(ConnectError):
        client.status()


def test_a_daemon_that_hangs_is_noticed(daemon: Daemon, client: Client) -> None:
    """A watch hears nothing for three heartbeats, a read nothing for its time-out."""
    with client.watch("/", heartbeat=0.1, resume=False) as watch:
        daemon.signal(signal.SIGSTOP)
        with pytest.raises(SilenceError):
            list(watch)
        with pytest.raises(SilenceError):
            client.status(timeout=0.2)
        daemon.signal(signal.SIGCONT)
    assert client.status().version


def test_nothing_to_serve_yet(new_etcd: Etcd) -> None:
    """A daemon that has not reached etcd says so, for reads and in its status."""
    new_etcd.stop()
    with Daemon(new_etcd.endpoint) as daemon, Client(str(daemon.socket)) as client:
        with pytest.raises(NotReadyError):
            client.get("/k")
        found = client.status().ranges[0]
        assert (found.range, found.state, found.age_ms) == ("/", "cold", None)
        new_etcd.start()
        daemon.wait_for("live")
        found = client.status().ranges[0]
        assert found.counters.full_reads == {"initial": 1}
        assert found.age_ms is not None


def test_the_status_has_every_field_the_client_knows(new_etcd: Etcd, client: Client) -> None:
    """Defaults are for other versions: this daemon tells all of it."""
    from syncd import findings
    from syncd import status as daemon
    from syncd.client import query
    from syncd.client.status import (
        Certificate,
        Counters,
        Endpoint,
        Etcd,
        Finding,
        History,
        RangeStatus,
        Status,
    )

    _, body = client.fetch(query.status())
    told = json.loads(body)
    assert set(Status.__struct_fields__) <= set(told)
    assert set(RangeStatus.__struct_fields__) <= set(told["ranges"][0])
    assert set(History.__struct_fields__) <= set(told["ranges"][0]["history"])
    assert set(Counters.__struct_fields__) <= set(told["ranges"][0]["counters"])
    assert set(Endpoint.__struct_fields__) <= set(told["etcd"]["endpoints"][0])
    assert told["etcd"]["endpoints"][0]["url"] == new_etcd.endpoint
    assert set(Etcd.__struct_fields__) <= set(told["etcd"])
    # There are none of these here; the daemon tells them field by field.
    assert Certificate.__struct_fields__ == daemon.CertificateStatus.__struct_fields__
    assert Finding.__struct_fields__ == findings.Finding.__struct_fields__


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Do without root's privileges for a while."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a socket closed to this user (needs root)")
def test_a_socket_that_is_closed_to_this_user_is_an_error(client: Client) -> None:
    """The file mode decides who may connect."""
    with _as_nobody(), pytest.raises(ConnectError) as caught:
        client.status()
    assert caught.value.errno == errno.EACCES
