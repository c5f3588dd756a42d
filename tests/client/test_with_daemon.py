"""Both fronts against a real daemon and a real etcd: what an application sees. All tests share these two."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from syncd.client import (
    AsyncClient,
    AsyncWatch,
    Bookmark,
    Connected,
    ConnectError,
    NotFoundError,
    NotMirroredError,
    Progress,
    SnapshotEnd,
    SnapshotHead,
    TooStaleError,
)
from syncd.records import Batch, Record
from tests.client.fronts import Front
from tests.daemon.process import Daemon
from tests.etcd import Etcd

_numbers = count()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    """Run one etcd for all tests here."""
    with Etcd() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors its `/`."""
    with Daemon(etcd.endpoint) as running:
        yield running.wait_for("live")


@pytest.fixture
def client(daemon: Daemon, front: Front) -> Iterator[AsyncClient]:
    """Give a client of that daemon."""
    reader = front(str(daemon.socket))
    yield reader
    reader.close()


@pytest.fixture
def prefix() -> str:
    """Give a prefix under which nothing is."""
    return f"/{next(_numbers)}/"


async def next_batch(watch: AsyncWatch) -> Batch:
    """Wait for the next batch."""
    batch = await anext(aiter(watch))
    assert isinstance(batch, Batch)
    return batch


async def test_a_key_of_any_bytes_is_read_as_it_is_in_etcd(
    etcd: Etcd, client: AsyncClient, prefix: str
) -> None:
    """Key, value and revisions are etcd's; any bytes come through."""
    for key, value in _odd(prefix).items():
        revision = etcd.put(key, value)
        found = await client.get(key, min_revision=revision)
        assert found.record == Record(key, value, revision, revision, 1, 0)
        assert found.freshness.revision >= revision
        assert found.freshness.state == "live"


async def test_a_snapshot_is_the_whole_range_at_one_revision(
    etcd: Etcd, client: AsyncClient, prefix: str
) -> None:
    """All records, and in a list of keys all keys, in etcd's order."""
    odd = _odd(prefix)
    revision = etcd.txn_put([*odd.items(), (f"/beside{prefix}", b"x")])
    async with client.snapshot(prefix, min_revision=revision) as snapshot:
        records = [record async for record in snapshot]
        assert snapshot.freshness.revision == revision
    assert [(one.key, one.value) for one in records] == sorted(odd.items())
    async with client.snapshot(prefix, keys_only=True) as snapshot:
        assert [(one.key, one.value) async for one in snapshot] == [(key, b"") for key in sorted(odd)]
    async with client.snapshot(prefix, as_json=True) as snapshot:
        assert [record async for record in snapshot] == records
        assert snapshot.line == b'{"end":true,"count":3}'
    assert await client.list(prefix) == sorted(odd)
    assert await client.list(prefix + "none") == []


def _odd(prefix: str) -> dict[bytes, bytes]:
    return {
        prefix.encode() + b"\xff\x00\n": b"\x00\xff\x1b[2J",
        f"{prefix}käse & co?=%#+".encode(): b"",
        f"{prefix}large".encode(): b"x" * 1_000_000,
    }


async def test_a_key_that_is_not_there_is_not_found(client: AsyncClient) -> None:
    """Which is not the same as a key that is not mirrored."""
    with pytest.raises(NotFoundError):
        await client.get("/nothing")
    for ask in (client.get, client.list):
        with pytest.raises(NotMirroredError):
            await ask("elsewhere")


async def test_a_linearizable_read_sees_the_last_write(etcd: Etcd, client: AsyncClient, prefix: str) -> None:
    """The daemon asks etcd where it is, and waits until it has come as far."""
    for number in range(10):
        etcd.put(prefix, str(number))
        assert (await client.get(prefix, linearizable=True)).record.value == str(number).encode()


async def test_one_waits_for_ones_own_writes(etcd: Etcd, client: AsyncClient, prefix: str) -> None:
    """Whatever there is under the prefix; and what is demanded is told."""
    for number in range(3):
        revision = etcd.put(f"{prefix}{number}", "x")
        assert (await client.wait(revision, prefix)).revision >= revision
        assert len(await client.list(prefix)) == number + 1


async def test_a_revision_that_does_not_come_is_too_stale(
    etcd: Etcd, client: AsyncClient, prefix: str
) -> None:
    """After the time one wanted to wait."""
    revision = etcd.put(prefix, "v") + 100
    with pytest.raises(TooStaleError):
        await client.get(prefix, min_revision=revision, wait=0.05)
    with pytest.raises(TooStaleError):
        await client.wait(revision, prefix, timeout=0.05)
    with pytest.raises(TooStaleError):
        await client.watch(prefix, min_revision=revision, wait=0.05).open()
    with pytest.raises(TooStaleError):
        await client.snapshot(prefix, max_age=0).open()


async def test_a_batch_has_all_that_one_revision_changed(
    etcd: Etcd, client: AsyncClient, prefix: str
) -> None:
    """Puts in one transaction arrive together, with what was there before if one asks for it."""
    a, b = f"{prefix}a".encode(), f"{prefix}b".encode()
    await client.wait(etcd.put(a, "old"), prefix)
    async with client.watch(prefix, prev_kv=True) as watch:
        revision = etcd.txn_put([(a, "new"), (b, "new")])
        batch = await next_batch(watch)
        assert (batch.revision, batch.resync) == (revision, False)
        assert [(one.kv.key, one.prev.value if one.prev else None) for one in batch.events] == [
            (a, b"old"),
            (b, None),
        ]
        deleted = etcd.delete(a)
        event = (await next_batch(watch)).events[0]
        assert (event.deleted, event.kv.key, event.kv.mod_revision) == (True, a, deleted)


async def test_an_idle_watch_hears_progress(client: AsyncClient) -> None:
    """As often as it asked for, with the range's state."""
    async with client.watch("/", heartbeat=0.1) as watch:
        assert isinstance(await watch.receive(), Connected)
        message = await watch.receive()
        assert isinstance(message, Progress)
        assert message.state == "live"
        assert message.age_ms is not None
        assert watch.bookmark == Bookmark(message.revision, message.epoch)


async def test_a_watch_resumes_without_a_gap(etcd: Etcd, client: AsyncClient, prefix: str) -> None:
    """What happened while nobody watched comes first."""
    async with client.watch(prefix) as watch:
        etcd.put(prefix, "1")
        await next_batch(watch)
        bookmark = watch.bookmark
    revisions = [etcd.put(prefix, str(number)) for number in range(5)]
    async with client.watch(prefix, after=bookmark) as watch:
        assert [(await next_batch(watch)).revision for _ in revisions] == revisions


async def test_a_watch_that_begins_with_a_snapshot_goes_on_after_it(
    etcd: Etcd, client: AsyncClient, prefix: str
) -> None:
    """Head, records, end, then changes."""
    revision = etcd.put(prefix, "1")
    async with client.watch(prefix, with_snapshot=True, min_revision=revision) as watch:
        messages = aiter(watch)
        head = await anext(messages)
        assert isinstance(head, SnapshotHead)
        assert (head.revision, head.count) == (revision, 1)
        assert await anext(messages) == Record(prefix.encode(), b"1", revision, revision, 1, 0)
        assert await anext(messages) == SnapshotEnd(1)
        after = etcd.put(prefix, "2")
        assert (await next_batch(watch)).revision == after


async def test_the_status_has_every_field_the_client_knows(etcd: Etcd, client: AsyncClient) -> None:
    """Defaults are for other versions: this daemon tells all of it."""
    from syncd import findings
    from syncd import status as daemon
    from syncd.client import query
    from syncd.client.status import (
        Certificate,
        Counters,
        Endpoint,
        Finding,
        History,
        RangeStatus,
        Status,
    )
    from syncd.client.status import Etcd as EtcdStatus

    _, body = await client.fetch(query.status())
    told = json.loads(body)
    assert set(Status.__struct_fields__) <= set(told)
    assert set(RangeStatus.__struct_fields__) <= set(told["ranges"][0])
    assert set(History.__struct_fields__) <= set(told["ranges"][0]["history"])
    assert set(Counters.__struct_fields__) <= set(told["ranges"][0]["counters"])
    assert set(Endpoint.__struct_fields__) <= set(told["etcd"]["endpoints"][0])
    assert told["etcd"]["endpoints"][0]["url"] == etcd.endpoint
    assert set(EtcdStatus.__struct_fields__) <= set(told["etcd"])
    # There are none of these here; the daemon tells them field by field.
    assert Certificate.__struct_fields__ == daemon.CertificateStatus.__struct_fields__
    assert Finding.__struct_fields__ == findings.Finding.__struct_fields__


async def test_the_daemon_counts_who_watches(daemon: Daemon, client: AsyncClient) -> None:
    """A watch is one reader more, until it is left."""
    before = (await client.status()).readers
    async with client.watch("/"):
        assert (await client.status()).readers == before + 1
    assert not await client.accept("/")


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Do without root's privileges for a while."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a socket closed to this user (needs root)")
async def test_a_socket_that_is_closed_to_this_user_is_an_error(client: AsyncClient) -> None:
    """The file mode decides who may connect."""
    with _as_nobody(), pytest.raises(ConnectError) as caught:
        await client.status()
    assert caught.value.errno == errno.EACCES
