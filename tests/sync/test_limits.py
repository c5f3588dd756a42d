"""gRPC's 4 MiB, for real on 3.3.25 and the same on all versions: large pages, large catch-ups, large keys."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from syncd.gateway import Gateway, MessageTooLarge, Page
from syncd.keyrange import KeyRange, prefix_range
from syncd.sync import decide
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.sync.harness import mirrored

MIB = 1 << 20


class NotingGateway(Gateway):
    """The gateway; notes the limit of each page that was asked for, and of each that was too large."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.asked: list[int] = []
        self.too_large: list[int] = []

    async def range_page(self, keys: KeyRange, **options: int) -> Page:
        """As ever."""
        self.asked.append(options["limit"])
        try:
            return await super().range_page(keys, **options)
        except MessageTooLarge:
            self.too_large.append(options["limit"])
            raise


def _values(count: int, size: int) -> Iterator[tuple[str, bytes]]:
    draw = random.Random(1)
    return ((f"/a/{i:04}", draw.randbytes(size // 2).hex().encode()) for i in range(count))


async def test_pages_past_four_mebibytes_are_halved_until_they_fit(etcd: Etcd) -> None:
    """A range of 24 MB, asked for in pages of 16 MiB, is read all the same where gRPC's limit is in force."""
    etcd.load(_values(240, 100_000))
    async with mirrored(etcd.endpoint, page_bytes=16 * MIB, kind=NotingGateway) as range_:
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}
        assert range_.reconnects == {}
        assert isinstance(range_.gateway, NotingGateway)
        if etcd.version == "3.3.25":
            first, second, *_ = range_.gateway.too_large
            assert second == first // 2
            assert len(range_.gateway.too_large) <= 4
            assert len(range_.gateway.asked) <= 20
        else:
            assert not range_.gateway.too_large
            assert len(range_.gateway.asked) <= 5


async def test_catching_up_past_four_mebibytes_resumes(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 MB written while the stream was cut are caught up by watch, without a single re-read."""
    # The machine's speed must not decide here what is cheaper.
    monkeypatch.setattr(decide, "CATCH_UP_LEAST", 60.0)
    etcd.load(_values(300, 100_000))
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        proxy.refuse()
        await asyncio.to_thread(etcd.load, _values(300, 101_000))
        etcd.put("/a/last", "1")
        proxy.let_through()
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}
        assert set(range_.reconnects) == {"unreachable"}
        assert not range_.recorder.resyncs
        assert sum(len(batch.events) for batch in range_.recorder.batches) == 301


async def test_large_values_after_tiny_ones_do_not_come_all_at_once(new_etcd: Etcd) -> None:
    """Sizes are guessed from the keys before; a page that is far off is asked for in smaller ones."""
    new_etcd.load((f"/a/{i:05}", "x") for i in range(12_000))
    new_etcd.load((f"/b/{i:03}", "y" * 1_000_000) for i in range(40))
    everything = prefix_range(b"/")
    async with mirrored(new_etcd.endpoint, keys=everything, page_bytes=MIB, kind=NotingGateway) as range_:
        await range_.until_live()
        assert range_.store.count == 12_040
        assert range_.full_reads == {"initial": 1}
        assert isinstance(range_.gateway, NotingGateway)
        assert range_.gateway.too_large


async def test_too_far_behind_a_reread_is_cheaper(new_etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """When catching up outlives its allowance, the range is read again, and the gap announced."""
    monkeypatch.setattr(decide, "CATCH_UP_LEAST", 0.0)
    monkeypatch.setattr(decide, "CATCH_UP_FACTOR", 0.0)
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        proxy.refuse()
        # More revisions than etcd packs into one answer, so that there is a middle to give up in.
        await asyncio.to_thread(new_etcd.txn_put, [(f"/a/{i % 10}", f"{i}") for i in range(2_000)], 1)
        new_etcd.delete("/a/5")
        proxy.let_through()
        await range_.agrees_with(new_etcd)
        assert range_.full_reads == {"initial": 1, "behind": 1}
        assert [batch.revision for batch in range_.recorder.resyncs] == [new_etcd.revision()]


async def test_the_largest_keys_come_through(etcd: Etcd) -> None:
    """Values just below etcd's limit of a request are read one a page, and followed."""
    size = MIB + (MIB >> 2)
    for i in range(4):
        etcd.put(f"/a/{i}", bytes([i]) * size)
    async with mirrored(etcd.endpoint) as range_:
        await range_.agrees_with(etcd)
        for i in range(4):
            etcd.put(f"/a/{i}", bytes([i + 1]) * size)
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}
