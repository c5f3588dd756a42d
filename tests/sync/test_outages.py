"""etcd stopped, killed, paused, wiped, replaced, unreachable, swallowed: what is held is served on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from syncd.gateway import Gateway, Page, Unreachable, WatchResult, WatchStream
from syncd.keyrange import KeyRange
from syncd.sync.decide import OtherHistory
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.store.model import contents
from tests.sync.harness import HEARTBEAT, mirrored


def _start(etcd: Etcd) -> None:
    etcd.start()


def _stopped(etcd: Etcd) -> Callable[[], None]:
    etcd.stop()
    return lambda: _start(etcd)


def _killed(etcd: Etcd) -> Callable[[], None]:
    etcd.kill()
    return lambda: _start(etcd)


def _paused(etcd: Etcd) -> Callable[[], None]:
    etcd.pause()
    return etcd.resume


OUTAGES = {"stopped and started": _stopped, "killed and started": _killed, "paused": _paused}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
async def test_after_an_outage_the_watch_resumes(
    etcd: Etcd, outage: Callable[[Etcd], Callable[[], None]]
) -> None:
    """Stale while etcd is away, everything still served; then on from there without a gap or a re-read."""
    etcd.txn_put([(f"/a/{i}", "before") for i in range(10)])
    async with mirrored(etcd.endpoint, request=2.0) as range_:
        await range_.until_live()
        etcd.put("/a/1", "last before")
        await range_.agrees_with(etcd)
        held = range_.store.revision
        end = outage(etcd)
        await range_.until(lambda: range_.state == "stale")
        await range_.until(lambda: range_.mirror.status().error)
        assert range_.store.revision == held
        assert range_.store.count == 10
        end()
        etcd.put("/a/2", "first after")
        etcd.delete("/a/3")
        await range_.agrees_with(etcd)
        await range_.until(lambda: range_.mirror.status().error is None)
        await range_.until_live()
        assert range_.full_reads == {"initial": 1}
        assert [len(batch.events) for batch in range_.recorder.batches] == [1, 1, 1]
        assert not range_.recorder.resyncs


async def test_a_cut_connection_is_resumed_at_once(etcd: Etcd) -> None:
    """Connections cut in the midst of writes: nothing is lost, nothing comes twice."""
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        for turn in range(5):
            await asyncio.to_thread(etcd.txn_put, [(f"/a/{turn}/{i}", "x") for i in range(200)], 7)
            proxy.cut()
            await asyncio.to_thread(etcd.txn_put, [(f"/a/{turn}/{i}", "y") for i in range(200)], 7)
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}


async def test_a_cut_connection_is_resumed_while_etcd_has_no_space(etcd_version: str) -> None:
    """Up to 3.4.19 and 3.5.6 no transaction is answered then: what is held is compared by plain reads."""
    with Etcd(etcd_version, ["--quota-backend-bytes=400000"]) as etcd:
        etcd.put("/a/1", "1")
        etcd.put("/a/gone", "1")
        etcd.delete("/a/gone")
        async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
            await range_.until_live()
            etcd.use_up_space("/elsewhere")
            proxy.cut()
            await range_.until(lambda: sum(range_.mirror.status().counters.watch_reconnects.values()))
            await range_.until_live()
            await range_.agrees_with(etcd)
            assert range_.full_reads == {"initial": 1}
            assert not range_.recorder.resyncs


async def test_a_wiped_etcd_is_a_new_epoch(etcd: Etcd) -> None:
    """The same cluster id, but revisions begin again: announced as one batch with the difference."""
    etcd.put("/a/same", "1")
    etcd.txn_put([(f"/a/{i}", "old") for i in range(10)], ops=1)
    async with mirrored(etcd.endpoint) as range_:
        await range_.until_live()
        first = range_.store.epoch
        etcd.begin_anew()
        etcd.put("/a/same", "1")
        etcd.put("/a/new", "1")
        await range_.until(lambda: range_.store.epoch != first)
        await range_.agrees_with(etcd)
        assert range_.store.epoch.partition("-")[0] == first.partition("-")[0]
        assert range_.full_reads == {"initial": 1, "epoch": 1}
        (batch,) = range_.recorder.resyncs
        assert {event.kv.key for event in batch.events if event.deleted} == {b"/a/%d" % i for i in range(10)}
        assert {event.kv.key for event in batch.events if not event.deleted} == {
            b"/a/new"
        }  # the other came out the same
        etcd.put("/a/new", "2")
        await range_.agrees_with(etcd)
        await range_.until_live()


async def test_a_wiped_etcd_that_was_filled_past_the_revision_held_is_a_new_epoch(etcd: Etcd) -> None:
    """Neither its cluster id nor its revision tells; the key that changed last does."""
    etcd.put("/a/same", "1")
    etcd.txn_put([(f"/a/{i}", "old") for i in range(10)], ops=1)
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        first, held = range_.store.epoch, range_.store.revision
        proxy.refuse()
        etcd.begin_anew()
        etcd.txn_put([(f"/b/{i}", "new") for i in range(held + 20)], ops=1)
        proxy.let_through()
        await range_.until(lambda: range_.store.epoch != first)
        await range_.agrees_with(etcd)


async def test_linearizable_is_refused_by_another_history(etcd: Etcd) -> None:
    """After a wipe, etcd's revision says nothing about what is held: it must not pass for reached."""
    etcd.txn_put([(f"/a/{i}", "old") for i in range(10)], ops=1)
    async with mirrored(etcd.endpoint) as range_:
        await range_.until_live()
        assert await range_.mirror.etcd_revision() == etcd.revision()
        assert range_.running
        range_.running.cancel()  # nothing but the question finds out
        etcd.begin_anew()

        async def ask() -> int:
            while True:
                with suppress(Unreachable):  # the connection that was kept open is dead
                    return await range_.mirror._etcd_revision()

        with pytest.raises(OtherHistory, match="wiped, restored or replaced"):
            await ask()


async def test_another_cluster_is_a_new_epoch(etcd: Etcd) -> None:
    """Another cluster id, though its revision is the higher one."""
    etcd.put("/a/same", "1")
    async with mirrored(etcd.endpoint) as range_:
        await range_.until_live()
        first = range_.store.epoch
        etcd.begin_anew(new_cluster_id=True)
        etcd.txn_put([("/a/other", f"{i}") for i in range(20)], ops=1)
        await range_.until(lambda: range_.store.epoch != first)
        await range_.agrees_with(etcd)
        assert range_.store.epoch.partition("-")[0] != first.partition("-")[0]
        assert range_.full_reads == {"initial": 1, "epoch": 1}
        assert len(range_.recorder.resyncs) == 1


async def test_a_black_hole_is_noticed_within_two_heartbeats(etcd: Etcd) -> None:
    """A connection that stays open, but carries nothing any more, is left; then the watch resumes."""
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url, heartbeat=1.0) as range_:
        await range_.until_live()
        await range_.next_proof()
        began = time.monotonic()
        proxy.black_hole()
        written = etcd.put("/a/1", "unseen")
        await range_.until(lambda: range_.reconnects)
        assert time.monotonic() - began <= 2.0
        assert set(range_.reconnects) == {"unreachable"}
        await range_.until(lambda: range_.state == "stale")
        assert range_.store.revision < written
        proxy.cut()
        proxy.let_through()
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}


async def test_a_closed_request_body_works_and_resumes(etcd: Etcd) -> None:
    """Without duplex: events come, a cut is resumed, a compaction leads to a re-read."""
    etcd.put("/a/1", "1")
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url, duplex="off") as range_:
        await range_.until(lambda: range_.mirror.status().endpoint)
        assert range_.mirror.status().duplex is False
        for i in range(3):
            etcd.put("/a/1", f"{i}")
            await range_.reaches(etcd.put("/a/2", f"{i}"))
            proxy.cut()
        range_.is_right(etcd)
        assert range_.full_reads == {"initial": 1}
        proxy.refuse()
        etcd.delete("/a/1")
        etcd.put("/a/2", "compacted")
        etcd.compact(etcd.revision())
        proxy.let_through()
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1, "compacted": 1}


async def test_without_duplex_a_quiet_range_stays_live_and_outlives_compactions(etcd: Etcd) -> None:
    """Other ranges are written to, history is compacted away: nothing is read again, nothing grows stale."""
    etcd.txn_put([(f"/a/{i}", "quiet") for i in range(100)])
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url, duplex="off") as range_:
        await range_.until_live()
        for turn in range(5):
            other = etcd.txn_put([("/b/busy", f"{turn}/{i}") for i in range(20)], ops=1)
            await range_.reaches(other)
            await range_.next_proof()
            assert range_.state == "live"
            etcd.compact(etcd.revision())
            before = sum(range_.reconnects.values())
            proxy.cut()
            await range_.until(lambda before=before: sum(range_.reconnects.values()) > before)  # type: ignore[misc]
            await range_.until_live()
        etcd.delete("/a/1")
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1}
        assert not range_.recorder.resyncs


async def test_without_duplex_a_dead_stream_is_found_by_what_it_does_not_bring(
    new_etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are answered, the stream hangs: a change that it does not deliver gives it away."""
    deaf: set[WatchStream] = set()
    heard = WatchStream.__anext__

    async def hear(stream: WatchStream) -> WatchResult:
        result = await heard(stream)
        if stream in deaf:
            await asyncio.Event().wait()
        return result

    monkeypatch.setattr(WatchStream, "__anext__", hear)
    new_etcd.put("/a/1", "1")
    async with mirrored(new_etcd.endpoint, duplex="off") as range_:
        await range_.until_live()
        assert range_.mirror._follower
        deaf.add(range_.mirror._follower.stream)
        new_etcd.put("/a/1", "2")
        await range_.agrees_with(new_etcd)
        assert set(range_.reconnects) == {"unreachable"}
        assert range_.full_reads == {"initial": 1}


async def test_a_closed_request_body_never_claims_what_it_does_not_know(new_etcd: Etcd) -> None:
    """Without duplex an idle range may turn stale, but no age is younger than its last sure moment."""
    new_etcd.put("/a/1", "1")
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url, duplex="off") as range_:
        await range_.until(lambda: range_.mirror.status().endpoint)
        proxy.black_hole()
        swallowed = time.monotonic()
        written = new_etcd.put("/a/1", "unseen")
        await range_.until(lambda: time.monotonic() - swallowed > 4 * HEARTBEAT)
        assert range_.proved_at() < swallowed
        assert range_.store.revision < written
        assert range_.state == "stale"


async def test_etcd_unreachable_at_the_start_is_waited_for(new_etcd: Etcd) -> None:
    """Cold, with the reason in words and few lines in the log; live as soon as etcd is there."""
    new_etcd.put("/a/1", "1")
    new_etcd.stop()
    with capture_logs() as lines:
        async with mirrored(new_etcd.endpoint) as range_:
            await range_.until(lambda: range_.gateway.endpoints.current.failures >= 5)
            assert range_.state == "cold"
            assert range_.reconnects == {}  # there was no watch to lose
            assert new_etcd.endpoint in (range_.mirror.status().error or "")
            assert len([line for line in lines if line["log_level"] == "warning"]) == 1
            new_etcd.start()
            await range_.until_live()
            await range_.agrees_with(new_etcd)
            await range_.until(lambda: range_.mirror.status().error is None)
            assert range_.full_reads == {"initial": 1}
    assert len([line for line in lines if line["log_level"] != "debug"]) <= 4


class SwitchedOnce(Gateway):
    """The gateway; goes to the other endpoint just before the second page of the first read."""

    pages = 0

    async def range_page(self, keys: KeyRange, **options: int) -> Page:
        """As ever, but for the second."""
        self.pages += 1
        if self.pages == 2:
            self.avoid(self.endpoints.current.url)
        return await super().range_page(keys, **options)


async def test_pages_of_two_clusters_are_never_mixed(new_etcd: Etcd) -> None:
    """Endpoints of two clusters, by mistake: what is served is the one or the other, never some of both."""
    with Etcd() as stranger:
        for etcd, value in ((new_etcd, "ours"), (stranger, "theirs")):
            etcd.txn_put([(f"/a/{i:04}", value) for i in range(1_000)], ops=100)
        async with mirrored(
            new_etcd.endpoint, stranger.endpoint, page_bytes=16 << 10, kind=SwitchedOnce
        ) as range_:
            await range_.until(lambda: range_.store.ready)
            values = {record.value for record in contents(range_.store).values()}
            assert values in ({b"ours"}, {b"theirs"})
            assert range_.store.count == 1_000


async def test_a_dead_endpoint_is_left_for_one_that_lives(new_etcd: Etcd) -> None:
    """Whichever of two endpoints is asked first: the mirror is live with the one that answers."""
    new_etcd.put("/a/1", "1")
    with Etcd() as dead:
        endpoint = dead.endpoint
        dead.stop()
        for seed in range(4):  # both orders occur
            async with mirrored(endpoint, new_etcd.endpoint, seed=seed) as range_:
                await range_.until_live()
                await range_.agrees_with(new_etcd)
                assert range_.mirror.status().endpoint == new_etcd.endpoint


async def test_a_lost_road_is_left_for_the_other(new_etcd: Etcd) -> None:
    """The endpoint in use goes silent: the other one resumes the watch, and nothing is lost or read again."""
    new_etcd.put("/a/1", "1")
    async with (
        Proxy(new_etcd.port) as one,
        Proxy(new_etcd.port) as other,
        mirrored(one.url, other.url) as range_,
    ):
        await range_.until_live()
        used = range_.mirror.status().endpoint
        roads = {one.url: one, other.url: other}
        assert used
        roads.pop(used).black_hole()
        new_etcd.put("/a/1", "2")
        await range_.agrees_with(new_etcd)
        assert {range_.mirror.status().endpoint} == set(roads)
        assert range_.full_reads == {"initial": 1}


@pytest.mark.parametrize("last", ["a put", "a delete", "nothing", "nothing, after a delete"])
async def test_a_restored_etcd_that_went_on_past_the_revision_held_is_a_new_epoch(
    etcd: Etcd, last: str
) -> None:
    """Cluster id and revision say nothing then; what changed last does, also when that is gone by now."""
    etcd.txn_put([(f"/a/{i}", "kept") for i in range(10)], ops=1)
    backup = etcd.directory / "backup"
    etcd.etcdctl("snapshot", "save", str(backup))
    if last == "nothing, after a delete":
        etcd.delete("/a/3")
    etcd.put("/b/1", "x")
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        if last == "a delete":
            etcd.delete("/a/3")
        elif last == "a put":
            etcd.put("/a/3", "lost")
        await range_.agrees_with(etcd)
        first, held = range_.store.epoch, range_.store.revision
        proxy.refuse()
        etcd.kill()
        etcd.restore(backup)
        etcd.start()
        if last == "nothing":
            etcd.put("/a/3", "other")  # before the revision held, so no watch from there on tells
        etcd.txn_put([(f"/b/{i}", "new") for i in range(held)], ops=1)
        proxy.let_through()
        await range_.until(lambda: range_.store.epoch != first)
        await range_.agrees_with(etcd)
        assert range_.store.get(b"/a/3")
        assert len(range_.recorder.resyncs) == 1


async def test_another_history_is_found_even_when_its_past_was_compacted(etcd: Etcd) -> None:
    """Nothing can be asked about the revision held; but what is read was there before, and not like this."""
    etcd.txn_put([(f"/a/{i}", "old") for i in range(10)], ops=1)
    async with Proxy(etcd.port) as proxy, mirrored(proxy.url) as range_:
        await range_.until_live()
        first, held = range_.store.epoch, range_.store.revision
        proxy.refuse()
        etcd.begin_anew()
        etcd.txn_put([(f"/a/{i}", "new") for i in range(5)], ops=1)
        etcd.txn_put([(f"/b/{i}", "new") for i in range(held + 20)], ops=1)
        etcd.compact(etcd.revision())
        proxy.let_through()
        await range_.until(lambda: range_.store.epoch != first)
        await range_.agrees_with(etcd)
        assert range_.full_reads == {"initial": 1, "epoch": 1}
        assert len(range_.recorder.resyncs) == 1
