"""What etcd forgets: during the read, while nobody was looking, and behind an idle range on a busy etcd."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from syncd.gateway import Gateway, Page
from syncd.keyrange import KeyRange
from syncd.sync.turns import SPREAD_LEAST
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.sync.harness import KEYS, mirrored


class CompactedOnce(Gateway):
    """The gateway; real etcd is compacted just before the second page of the first read is asked for."""

    etcd: Etcd
    pages = 0

    async def range_page(self, keys: KeyRange, **options: int) -> Page:
        """As ever, but for the second."""
        self.pages += 1
        if self.pages == 2:
            self.etcd.put("/a/00500", "changed after the first page")
            self.etcd.delete("/a/00000")
            self.etcd.compact(self.etcd.revision())
        return await super().range_page(keys, **options)


async def test_compacted_between_two_pages_the_read_begins_again(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full read whose revision goes away underneath starts over, and nothing of the first try is seen."""
    etcd.load((f"/a/{i:05}", "v" * 100) for i in range(1_000))
    monkeypatch.setattr(CompactedOnce, "etcd", etcd, raising=False)
    async with mirrored(etcd.endpoint, page_bytes=16 << 10, kind=CompactedOnce) as range_:
        counts = {0}
        range_.store.subscribe(lambda: counts.add(range_.store.count))
        await range_.agrees_with(etcd)
        assert counts == {0, 999}
        assert range_.full_reads == {"initial": 1}
        assert not range_.recorder.batches


async def test_how_long_etcd_was_away_does_not_delay_the_reread(new_etcd: Etcd) -> None:
    """After many tries in vain and a compaction, the range is read again as soon as after a short gap."""
    new_etcd.put("/a/1", "old")
    with capture_logs() as lines:
        async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url) as range_:
            await range_.until_live()
            proxy.refuse()
            new_etcd.put("/a/1", "new")
            new_etcd.compact(new_etcd.revision())
            await range_.until(lambda: range_.gateway.endpoints.current.failures >= 6)
            proxy.let_through()
            await range_.agrees_with(new_etcd)
            assert range_.full_reads == {"initial": 1, "compacted": 1}
    (lost,) = (line for line in lines if line["event"] == "etcd lost" and line["reason"] == "compacted")
    assert lost["pause"] <= SPREAD_LEAST


async def test_a_gap_by_compaction_is_announced_as_the_difference(etcd: Etcd) -> None:
    """Compacted while disconnected: one re-read, and one resync batch with exactly what changed."""
    etcd.txn_put([(f"/a/{i}", "old") for i in range(10)])
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        proxy.refuse()
        etcd.put("/a/1", "passing")
        etcd.put("/a/1", "new")
        etcd.put("/a/passing", "never seen")
        etcd.delete("/a/passing")
        etcd.delete("/a/2")
        etcd.put("/a/x", "added")
        etcd.compact(etcd.revision())
        proxy.let_through()
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1, "compacted": 1}
        (batch,) = range_.recorder.batches
        assert batch.resync
        changes = [(event.kv.key, event.deleted, event.kv.value) for event in batch.events]
        assert sorted(changes) == [
            (b"/a/1", False, b"new"),
            (b"/a/2", True, b""),
            (b"/a/x", False, b"added"),
        ]
        last = etcd.put("/a/3", "live again")
        await range_.agrees_with(etcd)
        assert [batch.revision for batch in range_.recorder.batches[1:]] == [last]


async def test_a_gap_is_announced_even_when_nothing_differs(new_etcd: Etcd) -> None:
    """A key may have come and gone, which readers were to be told; what they hold stays what it is."""
    new_etcd.txn_put([(f"/a/{i}", "same") for i in range(300)])
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        view = range_.store.view()
        proxy.refuse()
        new_etcd.put("/a/passing", "never seen")
        new_etcd.delete("/a/passing")
        new_etcd.compact(new_etcd.revision())
        proxy.let_through()
        await range_.agrees_with(new_etcd)
        assert range_.full_reads == {"initial": 1, "compacted": 1}
        assert [(batch.resync, batch.events) for batch in range_.recorder.batches] == [(True, ())]
        slices = zip(view.slices(KEYS), range_.store.view().slices(KEYS), strict=True)
        assert all(old[0] is new[0] for old, new in slices)


async def test_an_idle_range_outlives_twenty_compactions(etcd: Etcd) -> None:
    """On a busy etcd, compacted again and again and cut now and then, an idle range is never read again."""
    etcd.txn_put([(f"/a/{i}", "idle") for i in range(10)])
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        assert range_.mirror.status().duplex
        cuts = 0

        def noticed() -> bool:
            return sum(range_.reconnects.values()) >= cuts

        for turn in range(20):
            for i in range(20):
                etcd.put(f"/busy/{i}", f"{turn}")
            head = etcd.revision()
            await range_.reaches(head)
            etcd.compact(head)
            if turn % 5 == 4:
                cuts += 1
                proxy.cut()
                await range_.until(noticed)
        etcd.put("/a/1", "awake")
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}
        assert len(range_.recorder.batches) == 1
        assert range_.reconnects == {"unreachable": cuts}


async def test_a_delete_at_the_compacted_revision_is_not_lost(etcd: Etcd) -> None:
    """Compacted at the very revision that deleted a key, while nobody looked: the key is gone here, too.

    Up to 3.5.1 a watch from that revision on is accepted, and never tells of the delete.
    """
    etcd.put("/a/1", "1")
    etcd.put("/a/2", "2")
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.reaches(etcd.revision())
        await range_.until_live()
        proxy.refuse()
        etcd.compact(etcd.delete("/a/1"))
        proxy.let_through()
        await range_.until(lambda: range_.reconnects)
        await range_.agrees_with(etcd)
        assert set(range_.store.view().slices(KEYS)[0][0].keys) == {b"/a/2"}
