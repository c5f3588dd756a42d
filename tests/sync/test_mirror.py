"""The mirror against real etcd in fair weather: what it reads and follows is what etcd has."""

from __future__ import annotations

import asyncio

import pytest

from syncd.keyrange import KeyRange, prefix_range
from tests.etcd import Etcd
from tests.sync.harness import etcds_state, mirrored

MIB = 1 << 20


async def test_a_range_of_many_pages_is_read_as_etcd_has_it(etcd: Etcd) -> None:
    """A first read in many small pages ends with exactly etcd's own state, in one step, as one full read."""
    etcd.load((f"/a/{i:05}", "v" * 100) for i in range(3_000))
    etcd.load((f"/{letter}/{i}", "not asked for") for letter in "Zb" for i in range(50))
    async with mirrored(etcd.endpoint, page_bytes=16 << 10) as range_:
        counts = {0}
        range_.store.subscribe(lambda: counts.add(range_.store.count))
        await range_.agrees_with(etcd)
        await range_.until_live()
        assert counts == {0, 3_000}
        assert range_.full_reads == {"initial": 1}
        assert not range_.recorder.batches


async def test_changes_arrive_in_order_and_whole(etcd: Etcd) -> None:
    """Puts, deletes, and transactions of 100 keys become one batch a revision, in etcd's order."""
    async with mirrored(etcd.endpoint) as range_:
        await range_.until_live()
        first = etcd.put("/a/one", "1")
        etcd.put("/b/elsewhere", "1")
        etcd.put("/a/one", "2")
        etcd.txn_put([(f"/a/{i:03}", "x") for i in range(100)], ops=100)
        etcd.delete("/a/050")
        etcd.delete_prefix("/a/00")
        last = etcd.txn_put([(f"/a/{i:03}", "y") for i in range(100)], ops=100)
        await range_.agrees_with(etcd)
        batches = range_.recorder.batches
        assert [batch.revision for batch in batches] == [first, *range(first + 2, last + 1)]
        assert [len(batch.events) for batch in batches] == [1, 1, 100, 1, 10, 100]
        assert not range_.recorder.resyncs
        assert range_.full_reads == {"initial": 1}


async def test_any_value_comes_through_unchanged(etcd: Etcd) -> None:
    """Empty, binary, and megabyte values, and binary keys, are the same by reading and by watching."""
    values = {
        b"/a/empty": b"",
        b"/a/binary": bytes(range(256)),
        b"/a/\x00\xff\xfe": b"\xff\x00",
        b"/a/large": bytes(range(256)) * 4096,
        b"/a/text": "Grüße, 世界\n".encode(),
    }
    for key, value in values.items():
        etcd.put(key, value)
    async with mirrored(etcd.endpoint) as range_:
        await range_.agrees_with(etcd)
        for key, value in values.items():
            etcd.put(key + b"'", value)
            etcd.put(key, value[::-1])
        await range_.agrees_with(etcd)
        found = range_.store.get(b"/a/large'")
        assert found
        assert found.value == values[b"/a/large"]


RANGES = {
    "a key": KeyRange(b"/a/k"),
    "a prefix": prefix_range(b"/a/k"),
    "a key and a range_end": KeyRange(b"/a/k1", b"/a/k3"),
    "a prefix that ends in 0xff": prefix_range(b"/a/\xff"),
    "from a key to the end": KeyRange(b"/a/k2", b"\0"),
    "the whole key space": prefix_range(b""),
    "an empty range": prefix_range(b"/nothing/"),
}


@pytest.mark.parametrize("keys", RANGES.values(), ids=RANGES.keys())
async def test_every_kind_of_range_is_mirrored(new_etcd: Etcd, keys: KeyRange) -> None:
    """However a range is given, exactly its keys are read and followed."""
    written = [
        b"\0",
        b"/a/",
        b"/a/k",
        b"/a/k1",
        b"/a/k2x",
        b"/a/k3",
        b"/a/l",
        b"/a/\xff",
        b"/a/\xff\xff",
        b"/b",
    ]
    written += [b"\xff", b"\xff\xff"]
    for key in written:
        new_etcd.put(key, "1")
    async with mirrored(new_etcd.endpoint, keys=keys) as range_:
        await range_.agrees_with(new_etcd)
        for key in written:
            new_etcd.put(key, "2")
            new_etcd.put(key + b"+", "new")
        new_etcd.delete("/a/k2x")
        await range_.agrees_with(new_etcd)
        assert range_.full_reads == {"initial": 1}


async def test_an_empty_range_fills_and_empties_again(new_etcd: Etcd) -> None:
    """A range without keys is ready, and live, and follows from there to keys and back to none."""
    async with mirrored(new_etcd.endpoint) as range_:
        await range_.until_live()
        assert range_.store.count == 0
        new_etcd.txn_put([(f"/a/{i}", "x") for i in range(100)])
        await range_.until(lambda: range_.store.count == 100)
        new_etcd.delete_prefix("/a/")
        await range_.agrees_with(new_etcd)
        assert range_.store.count == 0


async def test_a_quiet_etcd_goes_on_proving_itself(etcd: Etcd) -> None:
    """When nobody writes anything at all, the range stays live, on the stream that it began with.

    3.5.30 answers no progress request of a watch that starts in the future.
    """
    etcd.put("/a/last", "write ever")
    async with mirrored(etcd.endpoint) as range_:
        await range_.until_live()
        for _ in range(3):
            await range_.next_proof()
        assert range_.state == "live"
        assert range_.reconnects == {}
        assert not range_.recorder.batches


async def test_no_write_is_missed_around_the_first_read(new_etcd: Etcd) -> None:
    """What is written while the pages are read, and before the watch is there, is not lost nor seen twice."""
    new_etcd.load((f"/a/{i:05}", "v" * 100) for i in range(2_000))

    def write() -> None:
        for i in range(300):
            new_etcd.put(f"/a/{i * 7 % 2_000:05}", f"{i}")

    async with mirrored(new_etcd.endpoint, page_bytes=16 << 10) as range_:
        await asyncio.to_thread(write)
        await range_.agrees_with(new_etcd)
        assert range_.full_reads == {"initial": 1}


async def test_etcds_revision_is_reached_soon(new_etcd: Etcd) -> None:
    """Read your writes: with `hurry` the store reaches `etcd_revision()` long before the heartbeat would."""
    async with mirrored(new_etcd.endpoint, heartbeat=600.0) as range_:
        await range_.until(lambda: range_.mirror.status().endpoint)
        for key in ("/elsewhere", "/a/mine") * 5:
            written = new_etcd.put(key, "now")
            wanted = await range_.mirror.etcd_revision()
            assert wanted >= written
            range_.mirror.hurry()
            await range_.reaches(wanted, timeout=5.0)
            held = range_.store.get(key.encode())
            assert (held is not None and held.mod_revision == written) == (key == "/a/mine")


async def test_many_who_hurry_do_not_kill_the_stream(new_etcd: Etcd) -> None:
    """A crowd of readers in a hurry asks again and again, and the stream lives through it."""
    async with mirrored(new_etcd.endpoint) as range_:
        await range_.until_live()
        for i in range(200):
            new_etcd.put("/elsewhere", f"{i}")
            for _ in range(10):
                range_.mirror.hurry()
            await range_.agrees_with(new_etcd)
        assert range_.reconnects == {}


async def test_two_ranges_share_a_gateway(new_etcd: Etcd) -> None:
    """Mirrors of neighbouring ranges each hold their own keys."""
    new_etcd.txn_put([(f"/{letter}/{i}", letter) for letter in "ab" for i in range(50)])
    async with (
        mirrored(new_etcd.endpoint) as one,
        mirrored(new_etcd.endpoint, keys=prefix_range(b"/b/")) as other,
    ):
        for range_ in (one, other):
            await range_.agrees_with(new_etcd)
            assert range_.store.count == 50
            assert etcds_state(new_etcd, range_.store.keys) == range_.recorder.state
